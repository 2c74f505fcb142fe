package controlplane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// The API server dials the addresses of Services, for webhooks and
	// aggregated APIs. A loopback range keeps that on this machine, where it is
	// refused at once. Nothing dials pods, and endpoints can't be in such a range.
	serviceCIDR = "127.96.0.0/16"
	serviceIP   = "127.96.0.1"
	podCIDR     = "10.244.0.0/16"
	issuer      = "https://kubernetes.default.svc.cluster.local"
)

//go:embed kwok.yaml
var kwokConfig string

// component is a program, how to call it and how to see that it works.
type component struct {
	name, bin string
	args      []string
	ready     func(context.Context) error
}

type ports struct {
	Etcd      int `json:"etcd"`
	APIServer int `json:"apiServer"`
	Kubelet   int `json:"kubelet"`
}

func (c *Cluster) pki() pki            { return pki(filepath.Join(c.state.Dir, "pki")) }
func (c *Cluster) etcdDir() string     { return filepath.Join(c.state.Dir, "etcd") }
func (c *Cluster) tokenFile() string   { return filepath.Join(c.state.Dir, "tokens.csv") }
func (c *Cluster) podLogFile() string  { return filepath.Join(c.state.Dir, "pods.log") }
func (c *Cluster) kwokConfig() string  { return filepath.Join(c.state.Dir, "kwok.yaml") }
func (c *Cluster) etcdAddress() string { return fmt.Sprintf("http://127.0.0.1:%d", c.state.Ports.Etcd) }
func (c *Cluster) kubeletAddr() string { return fmt.Sprintf("127.0.0.1:%d", c.state.Ports.Kubelet) }
func (c *Cluster) kubeconfigOf(user string) string {
	if user == "admin" {
		return filepath.Join(c.state.Dir, "kubeconfig")
	}
	return filepath.Join(c.state.Dir, strings.TrimPrefix(user, "system:")+".kubeconfig")
}

func (c *Cluster) etcd() component {
	return component{Etcd, c.state.Bin.Etcd, []string{
		"--data-dir=" + c.etcdDir(),
		"--listen-client-urls=" + c.etcdAddress(),
		"--advertise-client-urls=" + c.etcdAddress(),
		"--listen-peer-urls=http://127.0.0.1:0",
		"--unsafe-no-fsync",
	}, func(ctx context.Context) error { return c.get(ctx, c.etcdAddress()+"/readyz") }}
}

func (c *Cluster) apiServer() component {
	pki := c.pki()
	args := []string{
		"--etcd-servers=" + c.etcdAddress(),
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		// The endpoints of the Service kubernetes must not be a loopback address.
		"--endpoint-reconciler-type=none",
		fmt.Sprintf("--secure-port=%d", c.state.Ports.APIServer),
		"--service-cluster-ip-range=" + serviceCIDR,
		"--allow-privileged",
		"--tls-cert-file=" + pki.cert("apiserver"),
		"--tls-private-key-file=" + pki.key("apiserver"),
		"--client-ca-file=" + pki.cert("ca"),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--service-account-issuer=" + issuer,
		"--service-account-key-file=" + pki.cert("service-account"),
		"--service-account-signing-key-file=" + pki.key("service-account"),
		"--requestheader-client-ca-file=" + pki.cert("front-proxy-ca"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file=" + pki.cert("front-proxy-client"),
		"--proxy-client-key-file=" + pki.key("front-proxy-client"),
		"--kubelet-client-certificate=" + pki.cert("apiserver-kubelet-client"),
		"--kubelet-client-key=" + pki.key("apiserver-kubelet-client"),
		"--kubelet-preferred-address-types=InternalIP",
		// Otherwise a shutdown waits a minute for the watches of others.
		"--shutdown-watch-termination-grace-period=5s",
	}
	if _, err := os.Stat(c.tokenFile()); err == nil {
		args = append(args, "--token-auth-file="+c.tokenFile())
	}
	args = append(args, c.emulation()...)
	if slices.Contains([]string{"1.28", "1.29"}, c.state.Minor) {
		// Generally available in 1.30 (KEP-3488).
		args = append(args, "--runtime-config=admissionregistration.k8s.io/v1beta1=true",
			"--feature-gates=ValidatingAdmissionPolicy=true")
	}
	return component{APIServer, c.state.Bin.APIServer, args, c.apiServerReady}
}

// emulation returns the flag that makes a component behave as an older version,
// if that was asked for (KEP-4330, from 1.31 on).
func (c *Cluster) emulation() []string {
	if c.state.Emulated == "" {
		return nil
	}
	return []string{"--emulated-version=" + c.state.Emulated}
}

func (c *Cluster) apiServerReady(ctx context.Context) error { return c.get(ctx, c.URL()+"/readyz") }

func (c *Cluster) controllerManager(quick bool) component {
	pki := c.pki()
	args := []string{
		"--kubeconfig=" + c.kubeconfigOf("system:kube-controller-manager"),
		"--secure-port=0",
		"--leader-elect=false",
		"--use-service-account-credentials",
		"--service-account-private-key-file=" + pki.key("service-account"),
		"--root-ca-file=" + pki.cert("ca"),
		"--cluster-signing-cert-file=" + pki.cert("ca"),
		"--cluster-signing-key-file=" + pki.key("ca"),
	}
	args = append(args, c.emulation()...)
	if quick {
		args = append(args, "--kube-api-qps=200", "--kube-api-burst=300")
	}
	return component{ControllerManager, c.state.Bin.ControllerManager, args, func(ctx context.Context) error {
		// Its first visible work, without which no pod can be created.
		return c.get(ctx, c.URL()+"/api/v1/namespaces/default/serviceaccounts/default")
	}}
}

func (c *Cluster) scheduler() component {
	args := append(c.emulation(),
		"--kubeconfig="+c.kubeconfigOf("system:kube-scheduler"),
		"--secure-port=0",
		"--leader-elect=false",
	)
	return component{Scheduler, c.state.Bin.Scheduler, args, func(context.Context) error { return nil }}
}

func (c *Cluster) kwok() component {
	return component{Kwok, c.state.Bin.Kwok, []string{
		"--kubeconfig=" + c.kubeconfigOf("kwok"),
		"--config=" + c.kwokConfig(),
		"--manage-all-nodes=false",
		"--manage-nodes-with-annotation-selector=" + kwokAnnotation + "=fake",
		"--node-lease-duration-seconds=40",
		"--cidr=" + podCIDR,
		"--node-ip=127.0.0.1",
		fmt.Sprintf("--node-port=%d", c.state.Ports.Kubelet),
		"--server-address=" + c.kubeletAddr(),
	}, func(ctx context.Context) error { return c.get(ctx, "http://"+c.kubeletAddr()+"/healthz") }}
}

func (c *Cluster) writeKwokConfig() error {
	content := strings.ReplaceAll(kwokConfig, "$POD_LOG_FILE", c.podLogFile())
	if err := os.WriteFile(c.kwokConfig(), []byte(content), 0o600); err != nil {
		return fmt.Errorf("write the configuration of kwok: %w", err)
	}
	return nil
}

// SetPodLogs sets what kubectl logs prints, from now on, for every container.
func (c *Cluster) SetPodLogs(lines ...string) error {
	var b strings.Builder
	for _, line := range lines {
		fmt.Fprintf(&b, "%s stdout F %s\n", time.Now().UTC().Format(time.RFC3339Nano), line)
	}
	if err := os.WriteFile(c.podLogFile(), []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("write the logs of pods: %w", err)
	}
	return nil
}

// newClient returns a client that talks to the API server as its administrator.
func (c *Cluster) newClient() (*http.Client, error) {
	ca, err := c.pki().authority("ca")
	if err != nil {
		return nil, err
	}
	certPEM, keyPEM, err := c.pki().issue("ca", "controlplane", []string{"system:masters"}, false)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("load the client certificate: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true,
	}}, nil
}

// get reports whether a GET request is answered with success.
func (c *Cluster) get(ctx context.Context, address string) error {
	_, err := c.do(ctx, http.MethodGet, address, nil)
	return err
}

// do sends a request and returns the body of the answer, which is part of the
// error if the answer is not a success.
func (c *Cluster) do(ctx context.Context, method, address string, body io.Reader) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, address, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.client.Do(req)
	if err != nil {
		// It would repeat the method and the address.
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		return nil, fmt.Errorf("%s %s: %w", method, address, err)
	}
	content, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, address, err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return nil, fmt.Errorf("%s %s: %s: %s", method, address, resp.Status, content)
	}
	return content, nil
}

// freePorts returns ports that nobody listens on. They lie below the range that
// Linux uses for outgoing connections, so that none of these takes one while the
// API server restarts.
func freePorts() (ports, error) {
	var free []int
	for range 1000 {
		port := 20000 + rand.IntN(12000) //nolint:gosec // not a secret
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		// Held until all are found, so that they differ.
		defer func() { _ = l.Close() }()
		if free = append(free, port); len(free) == 3 {
			return ports{Etcd: free[0], APIServer: free[1], Kubelet: free[2]}, nil
		}
	}
	return ports{}, errors.New("find free ports: none between 20000 and 32000")
}

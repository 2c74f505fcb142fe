package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/flowcontrol"
)

// FieldManager is the name under which this plugin writes.
const FieldManager = "kubectl-castai"

// Without priority and fairness on the server, a client must restrain itself.
const (
	modestQPS   = 50
	modestBurst = 100
)

// concurrency bounds the requests in flight to one server: enough to hide the
// latency of a remote API server, few enough for priority and fairness not to
// notice. A server that does is left more room (throttle).
const concurrency = 16

// fairnessHeader is set on every answer of a server that runs API priority and
// fairness (k8s.io/apiserver, pkg/server/filters/priority-and-fairness.go).
const fairnessHeader = "X-Kubernetes-PF-FlowSchema-UID"

// Client reads and writes one cluster.
type Client struct {
	server    Server
	discovery discovery.DiscoveryInterface
	metadata  metadata.Interface
	dynamic   dynamic.Interface
	typed     rest.Interface
	// For what none of these can: logs. streams sends a request once, and its
	// answer may go on.
	http      *http.Client
	streams   *http.Client
	base      *url.URL
	userAgent string
	// silent holds the kinds of aggregated APIs, schema.GroupResource, that gave no
	// answer the last time.
	silent sync.Map
}

// Options of a client.
type Options struct {
	// UserAgent names the plugin in the audit log of the API server.
	UserAgent string
	// OnAway is called, from any goroutine, when a server that has answered
	// before does not answer any more, with the reason and how long it is waited
	// for. It may be nil.
	OnAway func(reason string, patience time.Duration)
	// Wrap is put around what sends requests, each time that one is sent. It may be nil.
	Wrap func(http.RoundTripper) http.RoundTripper
}

// New connects to the cluster that the user's kubeconfig flags select. It
// makes one request, which proves that the server can be reached and tells
// whether it needs a client-side rate limit. When ctx ends, the client waits for
// nothing any more. Errors are sentences for a person.
func New(ctx context.Context, getter genericclioptions.RESTClientGetter, o Options) (*Client, error) {
	config, err := getter.ToRESTConfig()
	if err != nil {
		return nil, explainConfig(err)
	}
	if !configured(getter) {
		return nil, errors.New("no cluster is configured: set KUBECONFIG, or name a file with --kubeconfig")
	}
	config = rest.CopyConfig(config)
	config.UserAgent = o.UserAgent
	// Reading every kind there is would warn of every deprecated one.
	config.WarningHandler = rest.NoWarnings{}
	// The deadline is that of one try. client-go's would be one for all of them.
	timeout := config.Timeout
	config.Timeout = 0
	if o.Wrap != nil {
		config.Wrap(o.Wrap)
	}
	streams, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, explainConfig(err)
	}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return newRetrier(ctx, next, timeout, o.OnAway) })
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, explainConfig(err)
	}

	c := &Client{server: Server{Host: config.Host}, http: httpClient, streams: streams, userAgent: o.UserAgent}
	if c.base, _, err = rest.DefaultServerURL(config.Host, "", schema.GroupVersion{},
		rest.IsConfigTransportTLS(*config)); err != nil {
		return nil, explainConfig(err)
	}
	if raw, err := getter.ToRawKubeConfigLoader().RawConfig(); err == nil {
		c.server.Context = raw.CurrentContext
		if flags, ok := getter.(*genericclioptions.ConfigFlags); ok {
			if flags.Context != nil && *flags.Context != "" {
				c.server.Context = *flags.Context
			}
			if flags.ClusterName != nil {
				c.server.ClusterName = *flags.ClusterName
			}
		}
		if kubeContext := raw.Contexts[c.server.Context]; kubeContext != nil && c.server.ClusterName == "" {
			c.server.ClusterName = kubeContext.Cluster
		}
	}

	fair, err := c.probe(ctx)
	if err != nil {
		return nil, c.explain(err)
	}
	if fair {
		config.QPS = -1
	} else {
		// One limit for all of the clients.
		config.RateLimiter = flowcontrol.NewTokenBucketRateLimiter(modestQPS, modestBurst)
	}

	if c.discovery, err = discovery.NewDiscoveryClientForConfigAndClient(config, httpClient); err != nil {
		return nil, explainConfig(err)
	}
	if c.metadata, err = metadata.NewForConfigAndClient(metadata.ConfigFor(config), httpClient); err != nil {
		return nil, explainConfig(err)
	}
	if c.dynamic, err = dynamic.NewForConfigAndClient(config, httpClient); err != nil {
		return nil, explainConfig(err)
	}
	if c.typed, err = newTyped(config, httpClient); err != nil {
		return nil, explainConfig(err)
	}
	return c, nil
}

// configured tells whether anything names a cluster. Without, client-go falls
// back to localhost:8080 (clientcmd.ClusterDefaults), which nobody meant.
func configured(getter genericclioptions.RESTClientGetter) bool {
	if raw, err := getter.ToRawKubeConfigLoader().RawConfig(); err != nil || len(raw.Clusters) > 0 {
		return true
	}
	if flags, ok := getter.(*genericclioptions.ConfigFlags); ok && flags.APIServer != nil && *flags.APIServer != "" {
		return true
	}
	_, err := rest.InClusterConfig()
	return err == nil
}

// Server returns the identity of the cluster, as far as it is known without
// reading objects.
func (c *Client) Server() Server { return c.server }

// probe asks for the server's version and reports whether the answer shows
// that API priority and fairness is on.
func (c *Client) probe(ctx context.Context) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.JoinPath("version").String(), nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("User-Agent", c.userAgent)
	resp, err := c.http.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusUnauthorized {
		return false, apierrors.NewUnauthorized("the server does not accept the credentials")
	}
	return resp.Header.Get(fairnessHeader) != "", nil
}

// explainConfig turns errors of reading a kubeconfig into what to do now.
func explainConfig(err error) error {
	msg := err.Error()
	switch {
	case clientcmd.IsEmptyConfig(err):
		return fmt.Errorf("no cluster is configured: set KUBECONFIG, or name a file with --kubeconfig: %w", err)
	case strings.Contains(msg, "does not exist") && strings.Contains(msg, "context"):
		return fmt.Errorf("%w: kubectl config get-contexts lists the ones there are", err)
	}
	return fmt.Errorf("the kubeconfig can't be used: %w", err)
}

// explain turns errors of reaching or entering the server into what to do now.
func (c *Client) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err // the run was ended, the server has nothing to do with it
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("the server %s does not accept the credentials of context %q (expired?): log in again: %w",
			c.server.Host, c.server.Context, err)
	case isUnreachable(err):
		return fmt.Errorf("the server %s of context %q can't be reached: check the address, the VPN and --context: %w",
			c.server.Host, c.server.Context, err)
	}
	return err
}

// isUnreachable tells whether a request failed without an answer.
func isUnreachable(err error) bool {
	var urlErr *url.Error // of http.Client.Do
	return errors.As(err, &urlErr) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// Version asks the server for its version.
func (c *Client) Version(ctx context.Context) (string, error) {
	v, err := c.discovery.ServerVersion()
	if err != nil {
		return "", c.explain(err)
	}
	return v.GitVersion, ctx.Err()
}

// UserAgent builds the name under which the audit log shows a request.
func UserAgent(version string) string {
	return fmt.Sprintf("%s/%s (%s/%s)", FieldManager, version, runtime.GOOS, runtime.GOARCH)
}

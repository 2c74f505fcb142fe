package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/castai/kubectl-castai/test/bench/page"
	"github.com/castai/kubectl-castai/test/controlplane"
)

// auditPolicy records every request of the administrator, and of nobody else:
// what controllers do is not the business of a benchmark of clients.
const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
  - {level: Metadata, users: [admin]}
  - {level: None}
`

// server is a control plane that counts the requests of its administrator.
type server struct {
	*controlplane.Cluster
	config *rest.Config
	api    dynamic.Interface
	disco  discovery.DiscoveryInterface
	audit  string // the audit log
	dir    string
	tools  tools
}

// start starts a control plane.
func (t tools) start(ctx context.Context, o controlplane.Options) (s *server, err error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	s = &server{audit: filepath.Join(dir, "audit.log"), dir: dir, tools: t}
	policy := filepath.Join(dir, "audit.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	o.Args = map[string][]string{controlplane.APIServer: {"--audit-policy-file=" + policy, "--audit-log-path=" + s.audit}}
	if s.Cluster, err = controlplane.Start(ctx, o); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if s.config, err = clientcmd.BuildConfigFromFlags("", s.Kubeconfig()); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	s.config.QPS = -1
	if s.api, err = dynamic.NewForConfig(s.config); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	if s.disco, err = discovery.NewDiscoveryClientForConfig(s.config); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *server) stop() error { return errors.Join(s.Stop(), os.RemoveAll(s.dir)) }

// request is one of the administrator's, as the audit log has it.
type request struct {
	Verb   string `json:"verb"`
	Object struct {
		Group     string `json:"apiGroup"`
		Resource  string `json:"resource"`
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"objectRef"`
	Received time.Time `json:"requestReceivedTimestamp"`
	Answered time.Time `json:"stageTimestamp"`
}

// requestsSince returns what the administrator asked since the audit log had a
// size. The log is written before an answer is sent.
func (s *server) requestsSince(size int64) ([]request, error) {
	f, err := os.Open(s.audit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	if _, err := f.Seek(size, 0); err != nil {
		return nil, err
	}
	var all []request
	for d := json.NewDecoder(f); d.More(); {
		var r request
		if err := d.Decode(&r); err != nil {
			return nil, fmt.Errorf("read the audit log: %w", err)
		}
		all = append(all, r)
	}
	return all, nil
}

// verbsSince counts by verb what the administrator asked since the audit log had a size.
func (s *server) verbsSince(size int64) (map[string]int, error) {
	all, err := s.requestsSince(size)
	counts := map[string]int{}
	for _, r := range all {
		counts[r.Verb]++
	}
	return counts, err
}

func (s *server) auditSize() (int64, error) {
	info, err := os.Stat(s.audit)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil // nobody asked for anything yet
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// run measures a command, and what it asks the server for. stdout is where its
// output goes, nowhere if it is nil. A command that fails is an error.
func (s *server) run(ctx context.Context, stdout *strings.Builder, command ...string) (page.Sample, error) {
	return s.runIn(ctx, s.dir, stdout, command...)
}

// runIn is run in another folder than that of the server.
func (s *server) runIn(ctx context.Context, dir string, stdout *strings.Builder, command ...string) (page.Sample,
	error) {
	size, err := s.auditSize()
	if err != nil {
		return page.Sample{}, err
	}
	env := append(os.Environ(), s.Env()...)
	sample, err := s.tools.run(ctx, env, dir, stdout, command...)
	if err != nil {
		return sample, err
	}
	sample.Requests, err = s.verbsSince(size)
	return sample, err
}

// castai measures the plugin without kubectl in front of it.
func (s *server) castai(ctx context.Context, stdout *strings.Builder, args ...string) (page.Sample, error) {
	return s.run(ctx, stdout, append([]string{s.tools.castai}, args...)...)
}

// conditions describes this machine and what runs on it.
func conditions(t tools, limit time.Duration) page.Conditions {
	c := page.Conditions{
		Date: time.Now().UTC().Format(time.RFC3339), CPU: cpuModel(), CPUs: cpus(), MemoryGiB: memoryGiB(),
		System: system(), Go: goVersion(), Kubernetes: t.kubernetes, Version: t.version, Limit: limit.Seconds(),
		LoadBefore: load(),
	}
	c.LoadAfter = c.LoadBefore
	return c
}

// load is the average of the last minute, 0 where the system does not say.
func load() float64 {
	fields := strings.Fields(readFile("/proc/loadavg"))
	if len(fields) == 0 {
		return 0
	}
	value, err := strconv.ParseFloat(fields[0], 64)
	if err != nil {
		return 0
	}
	return value
}

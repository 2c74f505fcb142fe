// Package controlplane runs real Kubernetes control planes for tests and for
// people: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, and kwok
// in the place of kubelets. It builds the binaries itself, listens on 127.0.0.1
// only, and needs no container runtime.
//
//	cluster, err := controlplane.Start(ctx, controlplane.Options{})
//	...
//	defer cluster.Stop()
//	err = cluster.AddNode(ctx, controlplane.Node{Name: "node-1"})
//	out, err := cluster.Kubectl(ctx, "get", "nodes")
//
// Everything is as in other clusters: TLS, RBAC, the node authorizer, admission,
// the aggregation layer, API priority and fairness, and the defaults of upstream.
// Two things differ. There is no network: the API server reaches a
// webhook by URL, and an aggregated API by a Service of type ExternalName. And
// containers do not run: kwok reports a pod as Running, or as Succeeded if it
// belongs to a Job, and confirms its deletion.
package controlplane

import (
	"context"
	"crypto/rand"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	startTimeout = 3 * time.Minute
	stopTimeout  = 10 * time.Second
	portAttempts = 5
	stateFile    = "cluster.json"
)

var errStopped = errors.New("the cluster has been stopped")

// Options says how to start a cluster. The zero value starts every component in a
// temporary folder.
type Options struct {
	// Dir is the folder for data, certificates and logs. It must be empty or
	// missing, and stays after Stop. The default is a temporary folder, which
	// Stop removes.
	Dir string
	// ContextName is the name of the context in the kubeconfig files, by default
	// "castai-test".
	ContextName string
	// NoControllerManager, NoScheduler and NoKwok leave a component out.
	NoControllerManager, NoScheduler, NoKwok bool
	// Quick lets the controller manager send ten times as many requests per
	// second as it does by default, which halves the time to start.
	Quick bool
	// Args are additional arguments by component, which win over the defaults.
	Args map[string][]string
	// Tokens are the users that can present a bearer token, see Cluster.TokenUser.
	Tokens []Token
	// Detached leaves the cluster running when this process ends. Open finds it
	// again.
	Detached bool
}

// Token is a user who identifies with a bearer token.
type Token struct {
	User   string
	Groups []string
}

// Cluster is a running control plane. Its methods can be called concurrently.
type Cluster struct {
	mu     sync.Mutex
	state  state
	client *http.Client
}

// state is what a later process must know about a cluster.
type state struct {
	Dir         string     `json:"dir"`
	Temporary   bool       `json:"temporary,omitempty"`
	Detached    bool       `json:"detached,omitempty"`
	ContextName string     `json:"contextName"`
	Bin         Bin        `json:"bin"`
	Minor       string     `json:"minor,omitempty"`    // of Kubernetes, where it is not the default
	Emulated    string     `json:"emulated,omitempty"` // the version that Kubernetes behaves as
	Ports       ports      `json:"ports"`
	Processes   []*process `json:"processes"` // in the order of their start
}

// Start builds what is missing, starts a cluster and waits until it works. The
// context bounds the start, not the life of the cluster.
func Start(ctx context.Context, opts Options) (*Cluster, error) {
	bin, err := Binaries(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()

	v := chosenVersion()
	c := &Cluster{state: state{
		Dir: opts.Dir, Detached: opts.Detached, ContextName: opts.ContextName, Bin: bin, Minor: v.minor, Emulated: v.emulated,
	}}
	if c.state.ContextName == "" {
		c.state.ContextName = "castai-test"
	}
	if err := c.prepare(opts.Tokens); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	for attempt := 1; ; attempt++ {
		err := c.start(ctx, opts)
		if err == nil {
			return c, nil
		}
		taken := slices.ContainsFunc(c.state.Processes, (*process).portTaken)
		if !taken || attempt == portAttempts || ctx.Err() != nil {
			return nil, errors.Join(err, c.Stop())
		}
		// Somebody was faster with one of the ports: once more, with others.
		err = errors.Join(c.stopProcesses(0), os.RemoveAll(c.etcdDir()))
		if err != nil {
			return nil, errors.Join(err, c.Stop())
		}
	}
}

// Open returns the cluster that was started in dir, also if this process did not
// start it.
func Open(dir string) (*Cluster, error) {
	content, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return nil, fmt.Errorf("open the cluster: %w", err)
	}
	c := &Cluster{}
	if err := json.Unmarshal(content, &c.state); err != nil {
		return nil, fmt.Errorf("open the cluster in %s: %w", dir, err)
	}
	if c.client, err = c.newClient(); err != nil {
		return nil, err
	}
	return c, nil
}

// prepare writes all files that do not depend on ports.
func (c *Cluster) prepare(tokens []Token) error {
	var err error
	if c.state.Dir == "" {
		c.state.Temporary = true
		c.state.Dir, err = os.MkdirTemp("", "controlplane-")
	} else {
		c.state.Dir, err = emptyDir(c.state.Dir)
	}
	if err != nil {
		return fmt.Errorf("create the folder of the cluster: %w", err)
	}
	if err := c.pki().create(); err != nil {
		return err
	}
	if c.client, err = c.newClient(); err != nil {
		return err
	}
	if err := c.writeTokens(tokens); err != nil {
		return err
	}
	if err := c.SetPodLogs("This container does not run: kwok stands in for the kubelet."); err != nil {
		return err
	}
	return c.writeKwokConfig()
}

// emptyDir creates the folder and makes sure that nothing of somebody else's is
// in it.
func emptyDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	if len(entries) > 0 {
		return "", fmt.Errorf("%s is not empty", dir)
	}
	return dir, nil
}

func (c *Cluster) writeTokens(tokens []Token) error {
	if len(tokens) == 0 {
		return nil
	}
	f, err := os.OpenFile(c.tokenFile(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write the tokens: %w", err)
	}
	w := csv.NewWriter(f)
	for _, t := range tokens {
		// The columns are the token, the user, its UID and its groups.
		row := []string{rand.Text(), t.User, t.User, strings.Join(t.Groups, ",")}
		err = errors.Join(err, w.Write(row))
	}
	w.Flush()
	if err := errors.Join(err, w.Error(), f.Close()); err != nil {
		return fmt.Errorf("write the tokens: %w", err)
	}
	return nil
}

// start starts the components on fresh ports, those that need another one after
// it.
func (c *Cluster) start(ctx context.Context, opts Options) error {
	var err error
	if c.state.Ports, err = freePorts(); err != nil {
		return err
	}
	for user, groups := range map[string][]string{
		"admin":                          {"system:masters"},
		"kwok":                           {"system:masters"},
		"system:kube-controller-manager": nil,
		"system:kube-scheduler":          nil,
	} {
		if err := c.writeUser(c.kubeconfigOf(user), user, groups); err != nil {
			return err
		}
	}

	steps := [][]component{{c.etcd()}, {c.apiServer()}, nil}
	if !opts.NoControllerManager {
		steps[2] = append(steps[2], c.controllerManager(opts.Quick))
	}
	if !opts.NoScheduler {
		steps[2] = append(steps[2], c.scheduler())
	}
	if !opts.NoKwok {
		steps[2] = append(steps[2], c.kwok())
	}
	for _, step := range steps {
		for i := range step {
			args := slices.Concat([]string{step[i].bin}, step[i].args, opts.Args[step[i].name])
			if err := c.launch(step[i].name, args); err != nil {
				return err
			}
		}
		for i := range step {
			if err := c.wait(ctx, step[i].name, step[i].ready); err != nil {
				return err
			}
		}
	}
	return nil
}

// launch starts a component, or starts it again, and records it.
func (c *Cluster) launch(name string, args []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	// kwok would read a configuration in the home of the user.
	env := []string{"HOME=" + c.state.Dir}
	p, err := startProcess(name, args, env, c.LogFile(name), c.state.Detached)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(c.state.Processes, func(p *process) bool { return p.Name == name }); i >= 0 {
		c.state.Processes[i] = p
	} else {
		c.state.Processes = append(c.state.Processes, p)
	}
	return writeJSON(filepath.Join(c.state.Dir, stateFile), c.state)
}

// wait polls until ready returns nil. It ends early if the component has died.
func (c *Cluster) wait(ctx context.Context, name string, ready func(context.Context) error) error {
	p := c.process(name)
	if p == nil {
		return fmt.Errorf("%s is not part of this cluster", name)
	}
	var died, unready error
	poll(ctx.Done(), func() bool {
		if died = p.died(); died != nil {
			return true
		}
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		unready = ready(ctx)
		return unready == nil
	})
	switch {
	case died != nil:
		return died
	case unready != nil:
		return fmt.Errorf("wait for %s: %w: %w; the end of %s:\n%s", name, ctx.Err(), unready, p.Log, p.tail())
	}
	return nil
}

func (c *Cluster) process(name string) *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.state.Processes {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// Dir returns the folder of the cluster.
func (c *Cluster) Dir() string { return c.state.Dir }

// Bin returns the binaries that the cluster runs.
func (c *Cluster) Bin() Bin { return c.state.Bin }

// URL returns the address of the API server.
func (c *Cluster) URL() string { return fmt.Sprintf("https://127.0.0.1:%d", c.state.Ports.APIServer) }

// LogFile returns the path of a component's log.
func (c *Cluster) LogFile(component string) string {
	return filepath.Join(c.state.Dir, component+".log")
}

// Kubeconfig returns the path of the kubeconfig of a user who may do everything.
func (c *Cluster) Kubeconfig() string { return c.kubeconfigOf("admin") }

// Env returns the environment variables that make kubectl, its plugins and client
// programs use this cluster, to be appended to os.Environ.
func (c *Cluster) Env() []string {
	return []string{
		"KUBECONFIG=" + c.Kubeconfig(),
		"KUBECACHEDIR=" + filepath.Join(c.state.Dir, "kubectl-cache"),
		"PATH=" + filepath.Dir(c.state.Bin.Kubectl) + string(filepath.ListSeparator) + os.Getenv("PATH"),
	}
}

// Kubectl runs kubectl as the user who may do everything and returns what it
// printed on stdout. An error holds what it printed on stderr.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) ([]byte, error) {
	return c.kubectl(ctx, "", args...)
}

// Apply runs kubectl apply on manifests in YAML.
func (c *Cluster) Apply(ctx context.Context, manifests string) error {
	_, err := c.kubectl(ctx, manifests, "apply", "-f", "-")
	return err
}

func (c *Cluster) kubectl(ctx context.Context, stdin string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, c.state.Bin.Kubectl, args...) //nolint:gosec // the purpose of this function
	cmd.Env = append(os.Environ(), c.Env()...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// Running reports whether all components run.
func (c *Cluster) Running() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.state.Processes) > 0 &&
		!slices.ContainsFunc(c.state.Processes, func(p *process) bool { return !p.running() })
}

// RestartAPIServer shuts the API server down in the orderly way and starts it
// again at the same address.
func (c *Cluster) RestartAPIServer(ctx context.Context) error {
	if err := c.stopAPIServer(stopTimeout); err != nil {
		return err
	}
	return c.StartAPIServer(ctx)
}

// KillAPIServer kills the API server without giving it time to finish anything.
func (c *Cluster) KillAPIServer() error { return c.stopAPIServer(0) }

// Signal sends a signal to one of the components: to stop it where it is, say, and to let
// it go on. This process must have started it.
func (c *Cluster) Signal(component string, sig syscall.Signal) error {
	p := c.process(component)
	if p == nil || p.handle == nil {
		return errStopped
	}
	return p.signal(p.handle, sig)
}

func (c *Cluster) stopAPIServer(grace time.Duration) error {
	p := c.process(APIServer)
	if p == nil {
		return errStopped
	}
	return p.stop(grace)
}

// StartAPIServer starts the API server after KillAPIServer and waits until it
// works.
func (c *Cluster) StartAPIServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	old := c.process(APIServer)
	if old == nil {
		return errStopped
	}
	if old.running() {
		return errors.New("the API server runs already")
	}
	for attempt := 1; ; attempt++ {
		if err := c.launch(APIServer, old.Args); err != nil {
			return err
		}
		err := c.wait(ctx, APIServer, c.apiServerReady)
		// Its address is in the hands of clients: insist on it.
		if err == nil || attempt == portAttempts || !c.process(APIServer).portTaken() {
			return err
		}
	}
}

// Stop ends all processes, clients before servers, waits until they are gone and
// removes the folder if it was a temporary one. It can be called again.
func (c *Cluster) Stop() error {
	err := c.stopProcesses(stopTimeout)
	if c.client != nil {
		c.client.CloseIdleConnections()
	}
	if err == nil && c.state.Temporary && c.state.Dir != "" {
		if err = os.RemoveAll(c.state.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the folder of the cluster: %w", err)
		}
	}
	return err
}

func (c *Cluster) stopProcesses(grace time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, p := range slices.Backward(c.state.Processes) {
		errs = append(errs, p.stop(grace))
	}
	err := errors.Join(errs...)
	if err == nil {
		c.state.Processes = nil
	}
	return err
}

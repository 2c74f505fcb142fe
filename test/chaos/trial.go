package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/castai/kubectl-castai/test/compare"
	"github.com/castai/kubectl-castai/test/driver"
	"github.com/castai/kubectl-castai/test/fixtures"
)

// bound is how long a run may take, whatever happens to it.
const bound = 2 * time.Minute

// Strike is one fault at one request.
type Strike struct {
	Fault Fault
	// At is the index of the request in a run without faults, or, for Kill, of the
	// write.
	At int
}

func (s Strike) String() string { return fmt.Sprintf("%s at %d", s.Fault, s.At) }

// Hit is a strike that a request has met.
type Hit struct {
	Strike
	Request Request
}

// Trial is one way in which an offboarding is disturbed; zero, by nothing.
type Trial struct {
	// Strikes are faults at requests by index. Those of the kind Kill count
	// writes only.
	Strikes []Strike
	// Fault is what Every request like this meets each time, or, with Writes, each
	// write the first time that it is sent.
	Fault  Fault
	Every  Request
	Writes bool
	// Restart is when the API server is killed, and started again. It excludes
	// the faults.
	Restart time.Duration
	HTTP2   bool // between the plugin and the proxy
}

func (t Trial) String() string {
	if t.Restart > 0 {
		return fmt.Sprintf("the API server killed after %s", t.Restart.Round(time.Millisecond))
	}
	var what []string
	for _, s := range t.Strikes {
		what = append(what, s.String())
	}
	if t.Every != (Request{}) {
		what = append(what, string(t.Fault)+" every time at "+t.Every.String())
	}
	if t.Writes {
		what = append(what, string(t.Fault)+" at each write")
	}
	protocol := "HTTP/1.1"
	if t.HTTP2 {
		protocol = "HTTP/2"
	}
	return strings.Join(append(what, protocol), ", ")
}

// Outcome is what became of a trial.
type Outcome struct {
	Trial
	// Met are the requests that met a fault: none if the run had fewer.
	Met      []Hit
	Requests []Request
	First    driver.Result
	Took     time.Duration
	// Problems are what must not be.
	Left, Touched, Problems []string
	Panics, Dishonest       int
}

// Failed tells whether anything is as it must not be.
func (o *Outcome) Failed() bool { return len(o.Left)+len(o.Touched)+len(o.Problems) > 0 }

func (o *Outcome) problem(format string, args ...any) {
	o.Problems = append(o.Problems, fmt.Sprintf(format, args...))
}

// Run fills the cluster, offboards it under the trial, and once more without.
// The error is for a trial that could not be made.
func (p *Plane) Run(ctx context.Context, t Trial) (*Outcome, error) {
	if err := fixtures.Install(ctx, p.Config, fixtures.Small); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "chaos-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	o := &Outcome{Trial: t}
	if err := p.disturbed(ctx, dir, o); err != nil {
		return nil, err
	}
	if err := p.judge(ctx, o); err != nil {
		return nil, err
	}
	second, _, err := p.offboard(ctx, p.Admin, filepath.Join(dir, "second"), nil)
	if err != nil {
		return nil, err
	}
	if second.Code != 0 {
		o.problem("the second run: %s", second)
	}
	after, err := fixtures.Snapshot(ctx, p.Config)
	if err != nil {
		return nil, err
	}
	o.Left, o.Touched = p.difference(after)
	return o, nil
}

// disturbed runs the offboarding that the trial disturbs.
func (p *Plane) disturbed(ctx context.Context, dir string, o *Outcome) (err error) {
	backup := filepath.Join(dir, "first")
	if o.Restart > 0 {
		restarted := p.restart(ctx, o.Restart)
		o.First, o.Took, err = p.offboard(ctx, p.Admin, backup, nil)
		return errors.Join(err, restarted())
	}
	proxy, err := NewProxy(p.Config, o.Trial)
	if err != nil {
		return err
	}
	defer func() {
		proxy.Close()
		o.Met, o.Requests = proxy.Met(), proxy.Requests()
	}()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := proxy.Kubeconfig(kubeconfig); err != nil {
		return err
	}
	o.First, o.Took, err = p.offboard(ctx, p.Admin.Kubeconfig(kubeconfig), backup, func(cmd *exec.Cmd) {
		proxy.OnKill(func() { _ = cmd.Process.Kill() })
	})
	return err
}

// offboard runs the plugin to its end, and tells how long that took. prepare is
// called before it starts.
func (p *Plane) offboard(ctx context.Context, user *driver.User, backup string, prepare func(*exec.Cmd)) (driver.Result,
	time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	cmd := user.Command(ctx, "offboard", "--yes", "--backup-dir", backup, "--clean-up-timeout=1s", "--settle=200ms",
		"--request-timeout=3s")
	cmd.WaitDelay = 10 * time.Second // after the interrupt
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if prepare != nil {
		prepare(cmd)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return driver.Result{}, 0, err
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) || ctx.Err() != nil {
		err = nil
	}
	return driver.Result{Code: cmd.ProcessState.ExitCode(), Stdout: stdout.String(),
		Stderr: stderr.String()}, time.Since(began), err
}

// restart kills the API server after a while and starts it again. The function
// that it returns waits for that.
func (p *Plane) restart(ctx context.Context, after time.Duration) func() error {
	done := make(chan error, 1)
	time.AfterFunc(after, func() {
		err := p.KillAPIServer()
		done <- errors.Join(err, p.StartAPIServer(ctx))
	})
	return func() error { return <-done }
}

var panicked = regexp.MustCompile(`(?m)^(panic:|fatal error:|goroutine \d+ \[)`)

// honest are the exit codes that a disturbed run may end with.
var honest = []int{0, 1, 3, 4}

// judge looks at how the disturbed run ended.
func (p *Plane) judge(ctx context.Context, o *Outcome) error {
	if panicked.MatchString(o.First.Stderr) {
		o.Panics++
		o.problem("it panicked: %s", o.First)
	}
	switch {
	case len(o.Met) > 0 && o.Met[0].Fault == Kill:
		return nil // there is no exit code
	case o.Took >= bound:
		o.problem("it did not end: %s", o.First)
	case !slices.Contains(honest, o.First.Code):
		o.Dishonest++
		o.problem("it ended unexpectedly: %s", o.First)
	case o.First.Code != 0 && strings.TrimSpace(o.First.Stderr) == "":
		o.Dishonest++
		o.problem("it does not say what failed: %s", o.First)
	}
	if o.First.Code != 0 && o.First.Code != 3 {
		return nil
	}
	after, err := fixtures.Snapshot(ctx, p.Config)
	if err != nil {
		return err
	}
	left, touched := p.difference(after)
	switch {
	case o.First.Code == 0 && len(left) > 0:
		o.Dishonest++
		o.problem("it says that all is done, but leaves %s", strings.Join(left, ", "))
	case len(touched) > 0:
		o.problem("it touched %s", strings.Join(touched, ", "))
	}
	return nil
}

// servers are how the objects begin that an API server keeps for itself.
var servers = []struct{ id, why string }{
	{"Lease.coordination.k8s.io/kube-system/apiserver-", "it says that it lives, and makes it anew when it starts"},
	{"IPAddress.networking.k8s.io/",
		"it releases the address of a Service after the deletion, in the same request; if the client goes away before, " +
			"its repair loop does it minutes later (k8s.io/kubernetes, pkg/registry/core/service/ipallocator/controller/repairip.go)"},
}

func ofServer(change string) bool {
	for _, s := range servers {
		if strings.HasPrefix(change, s.id) {
			return true
		}
	}
	return false
}

// difference compares a cluster from which all should be gone with the one that
// held the objects of others only.
func (p *Plane) difference(after compare.Snapshot) (left, touched []string) {
	for _, change := range compare.Changes(p.before, after) {
		if ofServer(change) {
			continue
		}
		if strings.HasSuffix(change, " is new") {
			left = append(left, change)
		} else {
			touched = append(touched, change)
		}
	}
	return left, touched
}

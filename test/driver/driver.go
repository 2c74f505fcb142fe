// Package driver runs the built plugin as a user does: kubectl castai, with
// kubectl and kubectl-castai on PATH.
package driver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/castai/kubectl-castai/test/controlplane"
)

// User is somebody at a terminal.
type User struct {
	kubectl string
	env     []string
	dir     string        // where commands run, and leave their backups: it goes with the cluster
	timeout time.Duration // of a command in a test
}

// patience is far more than any command takes.
const patience = 3 * time.Minute

// New returns a user of the cluster's administrator. bin is the folder that
// kubectl-castai was built into.
func New(cluster *controlplane.Cluster, bin string) (*User, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	if _, err := exec.LookPath(filepath.Join(bin, "kubectl-castai")); err != nil {
		return nil, fmt.Errorf("build the plugin first, with make build: %w", err)
	}
	u := &User{kubectl: cluster.Bin().Kubectl, env: append(os.Environ(), cluster.Env()...), dir: cluster.Dir(),
		timeout: patience}
	path := filepath.Dir(u.kubectl) + string(filepath.ListSeparator) + os.Getenv("PATH")
	return u.With("PATH=" + bin + string(filepath.ListSeparator) + path), nil
}

// With returns the user with further environment variables, which win over
// those of the same name.
func (u *User) With(env ...string) *User {
	v := *u
	v.env = slices.Concat(u.env, env)
	return &v
}

// Without returns the user without an environment variable.
func (u *User) Without(name string) *User {
	v := *u
	v.env = slices.DeleteFunc(slices.Clone(u.env), func(entry string) bool { return strings.HasPrefix(entry, name+"=") })
	return &v
}

// Kubeconfig returns the user with another kubeconfig.
func (u *User) Kubeconfig(path string) *User { return u.With("KUBECONFIG=" + path) }

// Command returns kubectl castai with arguments, ready to be started. It is
// interrupted when ctx ends.
func (u *User) Command(ctx context.Context, args ...string) *exec.Cmd {
	return u.command(ctx, append([]string{"castai"}, args...)...)
}

func (u *User) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, u.kubectl, args...) //nolint:gosec // the purpose of this function
	cmd.Env, cmd.Dir = u.env, u.dir
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	return cmd
}

// Result is how a command ended.
type Result struct {
	Code           int
	Stdout, Stderr string
}

// String is the result as a person would want to read it in the log of a test.
func (r Result) String() string {
	return fmt.Sprintf("exit code %d\nstdout: %s\nstderr: %s", r.Code, end(r.Stdout), end(r.Stderr))
}

// end returns the last lines of an output.
func end(output string) string {
	const most = 30
	lines := strings.Split(strings.TrimSpace(output), "\n")
	if len(lines) > most {
		lines = append([]string{fmt.Sprintf("(%d lines)", len(lines)-most)}, lines[len(lines)-most:]...)
	}
	return strings.Join(lines, "\n")
}

// Castai runs kubectl castai without a terminal. The error is for a command
// that could not be run at all.
func (u *User) Castai(ctx context.Context, args ...string) (Result, error) {
	return u.Kubectl(ctx, append([]string{"castai"}, args...)...)
}

// Kubectl runs kubectl without a terminal.
func (u *User) Kubectl(ctx context.Context, args ...string) (Result, error) {
	cmd := u.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		err = nil
	}
	return Result{Code: cmd.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}, err
}

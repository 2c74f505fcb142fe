// Package firstrun is what somebody types who has just installed the plugin: the
// commands of docs/first-run.md, on a terminal, against a cluster with Cast AI's agent.
package firstrun

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/castai/kubectl-castai/test/compare"
	"github.com/castai/kubectl-castai/test/driver"
	"github.com/castai/kubectl-castai/test/fixtures"
	"github.com/castai/kubectl-castai/test/terminal"
)

// rows are enough for all that a command prints, and timeout for all that it does.
const (
	rows    = 250
	timeout = 3 * time.Minute
)

// Step is one command, and the answer to what it asks.
type Step struct {
	Name, Command, Answer string
	Screen                *terminal.Screen
}

// Run types the commands on a terminal of some columns; bin is the folder that the
// plugin was built into. Backups go to a folder that is removed in the end.
func Run(ctx context.Context, bin string, columns int) (steps []*Step, err error) {
	const name = "demo"
	cluster, err := driver.Start(ctx, driver.Options{Bin: bin, ContextName: name})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	dir, err := os.MkdirTemp("", "first-run-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := fixtures.Install(ctx, cluster.Config, fixtures.Agent); err != nil {
		return nil, err
	}
	if _, err := compare.Settled(ctx, cluster.Config); err != nil {
		return nil, err
	}
	if err := cluster.Stick(ctx, "orders", "batch"); err != nil {
		return nil, err
	}
	user := cluster.Admin.With("TERM=xterm-256color", "NO_COLOR=")
	steps = []*Step{
		{Name: "status", Command: "status"},
		{Name: "explain", Command: "status clusterrole/castai-agent"},
		{Name: "plan", Command: "offboard --dry-run=client"},
		{Name: "offboard", Command: "offboard", Answer: name},
		{Name: "verify", Command: "verify"},
		{Name: "restore", Command: "restore", Answer: name},
		{Name: "unstick-ns", Command: "unstick-ns orders", Answer: "orders"},
	}
	for _, s := range steps {
		args := strings.Fields(s.Command)
		if s.Name == "restore" {
			folders, err := filepath.Glob(filepath.Join(dir, "castai-offboard-*"))
			if err != nil || len(folders) != 1 {
				return nil, fmt.Errorf("the offboarding made the folders %v: %w", folders, err)
			}
			args = append(args, filepath.Base(folders[0]))
		}
		if err := s.run(ctx, user, dir, columns, args); err != nil {
			return nil, err
		}
	}
	return steps, nil
}

func (s *Step) run(ctx context.Context, user *driver.User, dir string, columns int, args []string) (err error) {
	cmd := user.Command(ctx, args...)
	cmd.Dir = dir
	if s.Screen, err = terminal.Start(cmd, columns, rows, "$ kubectl castai "+strings.Join(args, " ")); err != nil {
		return err
	}
	failed := func(err error) error {
		return fmt.Errorf("kubectl castai %s: %w:\n%s", s.Command, err, s.Screen.Text())
	}
	if s.Answer != "" {
		if err := s.Screen.Until("Type ", timeout); err != nil {
			return failed(err)
		}
		if err := s.Screen.Type(s.Answer + "\r"); err != nil {
			return failed(err)
		}
	}
	if err := s.Screen.Ended(timeout); err != nil {
		return failed(err)
	}
	if err := cmd.Wait(); err != nil {
		return failed(err)
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/client-go/rest"

	"github.com/castai/kubectl-castai/test/compare"
	"github.com/castai/kubectl-castai/test/controlplane"
	"github.com/castai/kubectl-castai/test/driver"
	"github.com/castai/kubectl-castai/test/fixtures"
)

// errFailed ends a demo that did not show what it should.
var errFailed = errors.New("the cluster is not as it should be")

// demo is one run.
type demo struct {
	out      io.Writer
	user     *driver.User
	commands []timing
}

// timing is how long a command took.
type timing struct {
	command string
	took    time.Duration
}

// run starts a cluster, shows the plugin at work in it, and stops the cluster.
func (d *demo) run(ctx context.Context, bin string) (err error) {
	if err := d.say("Starting a Kubernetes control plane with three nodes, two of them made by Cast AI ..."); err != nil {
		return err
	}
	cluster, err := driver.Start(ctx, driver.Options{Bin: bin, ContextName: "demo", Nodes: nodes()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	d.user = cluster.Admin
	if err := d.show(ctx, cluster.Config); err != nil {
		return err
	}
	return d.live(ctx, cluster, bin)
}

// show is what happens while the cluster runs.
func (d *demo) show(ctx context.Context, config *rest.Config) error {
	sets := []fixtures.Set{fixtures.All, fixtures.Foreign}
	owned, err := fixtures.OwnedRefs(sets...)
	if err != nil {
		return err
	}
	before, err := compare.Settled(ctx, config)
	if err != nil {
		return err
	}
	if err := d.say("Installing Cast AI with all its components, and things of others with similar names ..."); err != nil {
		return err
	}
	if err := fixtures.Install(ctx, config, sets...); err != nil {
		return err
	}
	installed, err := compare.Settled(ctx, config)
	if err != nil {
		return err
	}

	for _, command := range []string{"status", "offboard --yes --clean-up-timeout=5s --settle=2s", "verify"} {
		if err := d.castai(ctx, command); err != nil {
			return err
		}
	}

	after, err := compare.Settled(ctx, config)
	if err != nil {
		return err
	}
	return d.count(compare.Offboarding(before, installed, after, owned))
}

// nodes are two machines that Cast AI made and one that it did not.
func nodes() []controlplane.Node {
	made := map[string]string{"provisioner.cast.ai/managed-by": "cast.ai",
		"node.kubernetes.io/instance-type": "m7g.2xlarge"}
	spot := map[string]string{"provisioner.cast.ai/managed-by": "cast.ai",
		"node.kubernetes.io/instance-type": "c7g.xlarge", "scheduling.cast.ai/spot": "true"}
	return []controlplane.Node{
		{Name: "worker-1", Labels: map[string]string{"node.kubernetes.io/instance-type": "m7g.large"}},
		{Name: "castai-worker-1", Labels: made},
		{Name: "castai-worker-2", Labels: spot},
	}
}

// castai runs a command of the plugin and shows what a user would see. The exit
// code is part of what it shows; what is left is counted afterwards.
func (d *demo) castai(ctx context.Context, command string) error {
	if err := d.say("\n$ kubectl castai %s", command); err != nil {
		return err
	}
	cmd := d.user.Command(ctx, strings.Fields(command)...)
	cmd.Stdout, cmd.Stderr = d.out, d.out
	start := time.Now()
	err := cmd.Run()
	d.commands = append(d.commands, timing{strings.Fields(command)[0], time.Since(start)})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case cmd.ProcessState == nil:
		return err
	case err != nil:
		return d.say("(exit code %d)", cmd.ProcessState.ExitCode())
	}
	return nil
}

// count shows what snapshots of the cluster say about what was done, whatever
// the plugin itself says.
func (d *demo) count(r compare.Result) error {
	if err := d.say("\nEvery object of the cluster, compared before and after:\n"); err != nil {
		return err
	}
	w := tabwriter.NewWriter(d.out, 0, 0, 2, ' ', 0)
	for _, row := range []struct {
		what  string
		count int
	}{
		{"Cast AI's, installed", len(r.Removed) + len(r.Left)},
		{"Cast AI's, removed", len(r.Removed)},
		{"Cast AI's, left", len(r.Left)},
		{"of others", r.Untouched + len(r.Touched)},
		{"of others, touched", len(r.Touched)},
	} {
		if _, err := fmt.Fprintf(w, "  %s\t%6d\n", row.what, row.count); err != nil {
			return err
		}
	}
	for _, c := range d.commands {
		if _, err := fmt.Fprintf(w, "  kubectl castai %s\t%6.1f s\n", c.command, c.took.Seconds()); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, id := range r.Left {
		if err := d.say("left: %s", id); err != nil {
			return err
		}
	}
	for _, id := range r.Touched {
		if err := d.say("touched: %s", id); err != nil {
			return err
		}
	}
	if len(r.Left)+len(r.Touched) > 0 || len(r.Removed) == 0 {
		return errFailed
	}
	return nil
}

func (d *demo) say(format string, args ...any) error {
	_, err := fmt.Fprintf(d.out, format+"\n", args...)
	return err
}

// Command controlplane builds real Kubernetes control planes and runs them on this
// machine, for trying things out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"text/tabwriter"

	"github.com/castai/kubectl-castai/test/controlplane"
)

const usage = `Usage:
  controlplane build                    build the binaries, unless that has been done
  controlplane up [--nodes=N] [NAME]    start a cluster and leave it running
  controlplane list                     list clusters
  controlplane down NAME... | --all     stop clusters and remove their data
`

const defaultName = "castai-test"

var errUsage = errors.New("bad usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, errUsage):
		fmt.Fprintf(os.Stderr, "controlplane: %v\n\n%s", err, usage)
		os.Exit(2)
	case err != nil:
		fmt.Fprintf(os.Stderr, "controlplane: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, args []string) error {
	cache, err := controlplane.CacheDir()
	if err != nil {
		return err
	}
	clusters := filepath.Join(cache, "clusters")
	if len(args) == 0 {
		return fmt.Errorf("%w: what is to be done?", errUsage)
	}
	verb, args := args[0], args[1:]
	switch verb {
	case "build":
		return build(ctx, out, args)
	case "up":
		return up(ctx, out, clusters, args)
	case "list":
		return list(out, clusters, args)
	case "down":
		return down(out, clusters, args)
	case "help", "-h", "--help":
		_, err := io.WriteString(out, usage)
		return err
	}
	return fmt.Errorf("%w: there is no command %q", errUsage, verb)
}

// parse reads the flags and allows at most limit arguments.
func parse(flags *flag.FlagSet, args []string, limit int) error {
	flags.SetOutput(io.Discard)
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if flags.NArg() > limit {
		return fmt.Errorf("%w: %q is too much", errUsage, flags.Arg(limit))
	}
	return nil
}

func build(ctx context.Context, out io.Writer, args []string) error {
	if err := parse(flag.NewFlagSet("build", flag.ContinueOnError), args, 0); err != nil {
		return err
	}
	bin, err := controlplane.Binaries(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, filepath.Dir(bin.Kubectl))
	return err
}

// A name is part of a path and of the context's name.
var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

func up(ctx context.Context, out io.Writer, clusters string, args []string) error {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	nodes := flags.Int("nodes", 1, "")
	if err := parse(flags, args, 1); err != nil {
		return err
	}
	name := defaultName
	if flags.NArg() == 1 {
		name = flags.Arg(0)
	}
	if !validName.MatchString(name) {
		return fmt.Errorf("%w: %q is not a name: use lower-case letters, digits and dashes", errUsage, name)
	}

	dir := filepath.Join(clusters, name)
	switch old, err := controlplane.Open(dir); {
	case err == nil && old.Running():
		return fmt.Errorf("cluster %s is running already; stop it with: %s", name, downHint(name))
	case err == nil:
		// What a reboot or a crash has left.
		if err := remove(old); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	// Of two that start the same name at once, one creates the folder.
	if err := os.MkdirAll(clusters, 0o700); err != nil {
		return fmt.Errorf("create the folder for clusters: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("cluster %s is being started, or its start was interrupted; if so, clean up with: %s: %w", name,
			downHint(name), err)
	}
	cluster, err := controlplane.Start(ctx, controlplane.Options{Dir: dir, ContextName: name, Detached: true, Quick: true})
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	for i := range *nodes {
		if err := cluster.AddNode(ctx, controlplane.Node{Name: fmt.Sprintf("node-%d", i+1)}); err != nil {
			return errors.Join(err, remove(cluster))
		}
	}
	_, err = fmt.Fprintf(out, "Use it:   export KUBECONFIG=%q PATH=%q:\"$PATH\"\nStop it:  %s\n",
		cluster.Kubeconfig(), filepath.Dir(cluster.Bin().Kubectl), downHint(name))
	return err
}

// downHint says how to stop a cluster from the root of the checkout.
func downHint(name string) string { return "make cluster-down NAME=" + name }

func list(out io.Writer, clusters string, args []string) error {
	if err := parse(flag.NewFlagSet("list", flag.ContinueOnError), args, 0); err != nil {
		return err
	}
	names, err := names(clusters)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, "NAME\tSTATUS\tKUBECONFIG")
	for _, name := range names {
		status, kubeconfig := "broken", ""
		if cluster, err := controlplane.Open(filepath.Join(clusters, name)); err == nil {
			status, kubeconfig = "stopped", cluster.Kubeconfig()
			if cluster.Running() {
				status = "running"
			}
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", name, status, kubeconfig)
	}
	return w.Flush()
}

func down(out io.Writer, clusters string, args []string) error {
	flags := flag.NewFlagSet("down", flag.ContinueOnError)
	all := flags.Bool("all", false, "")
	if err := parse(flags, args, len(args)); err != nil {
		return err
	}
	targets := flags.Args()
	if *all == (len(targets) > 0) {
		return fmt.Errorf("%w: give the names of clusters, or --all", errUsage)
	}
	if *all {
		var err error
		if targets, err = names(clusters); err != nil {
			return err
		}
	}
	var errs []error
	for _, name := range targets {
		if !validName.MatchString(name) {
			return fmt.Errorf("%w: %q is not the name of a cluster", errUsage, name)
		}
		err := downOne(filepath.Join(clusters, name))
		if err == nil {
			_, err = fmt.Fprintf(out, "stopped %s\n", name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func downOne(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no cluster %s; see: make cluster-list", filepath.Base(dir))
	}
	cluster, err := controlplane.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		// Its start was interrupted before there were processes.
		return os.RemoveAll(dir)
	}
	if err != nil {
		return err
	}
	return remove(cluster)
}

// remove stops a cluster and removes its data.
func remove(cluster *controlplane.Cluster) error {
	if err := cluster.Stop(); err != nil {
		return err
	}
	if err := os.RemoveAll(cluster.Dir()); err != nil {
		return fmt.Errorf("remove the data of the cluster: %w", err)
	}
	return nil
}

// names returns the names of all clusters.
func names(clusters string) ([]string, error) {
	entries, err := os.ReadDir(clusters)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list clusters: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

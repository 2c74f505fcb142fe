package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/castai/kubectl-castai/internal/hibernate"
	"github.com/castai/kubectl-castai/pkg/cluster"
)

type hibernateLogsOptions struct {
	*Root
	follow bool
	name   string
}

func newHibernateLogs(r *Root) *cobra.Command {
	o := &hibernateLogsOptions{Root: r}
	cmd := &cobra.Command{
		Use:     "logs",
		Short:   "Show the logs of the newest pause and resume by the CronJobs",
		Example: r.example(`%[1]s hibernate logs --follow`),
		Args:    noArgs, RunE: run(o),
	}
	cmd.Flags().StringVar(&o.name, "name", "", "Only those of the pair of CronJobs of this name")
	cmd.Flags().BoolVarP(&o.follow, "follow", "f", false, "Go on until the newest run ends")
	return cmd
}

// Complete has nothing to fill in.
func (o *hibernateLogsOptions) Complete(*cobra.Command, []string) error { return nil }

// Validate has nothing to check.
func (o *hibernateLogsOptions) Validate() error { return nil }

// Run finds the newest run of each kind, the older one first, and copies its log.
func (o *hibernateLogsOptions) Run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	client, err := o.connect(ctx)
	if err != nil {
		return err
	}
	in, err := o.installation(ctx, client)
	if err != nil {
		return err
	}
	runs := in.Newest()
	if o.name != "" {
		if in.Pair(o.name) == nil {
			return refused(missing(in, o.name))
		}
		runs = slices.DeleteFunc(runs, func(r hibernate.Run) bool { return r.Pair != o.name })
	}
	if len(runs) == 0 {
		return fmt.Errorf("no run of the CronJobs is left in namespace %s: hibernate status tells when the next one is",
			in.Namespace)
	}
	var failures []error
	for i, r := range runs {
		if _, err := fmt.Fprintf(o.ErrOut, "==> %s (%s, %s)\n", r.Name, r.Started.Local().Format("Mon 2 Jan 15:04 MST"),
			r.Result); err != nil {
			return err
		}
		last := i == len(runs)-1
		if err := o.log(ctx, client, r.Name, o.follow && last && r.Result == "running"); err != nil {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

// log copies the log of the newest pod of a Job; with follow it waits for the pod
// to start, and goes on until it ends.
func (r *Root) log(ctx context.Context, client *cluster.Client, job string, follow bool) error {
	pod := ""
	find := func(pods []*cluster.Object) (bool, error) {
		var newest *cluster.Object
		for _, p := range pods {
			if owner := p.Controller(); owner != nil && owner.Kind == "Job" && owner.Name == job &&
				(newest == nil || p.Created.After(newest.Created)) {
				newest = p
			}
		}
		switch {
		case newest == nil && !follow:
			return false, fmt.Errorf("the pod of Job %s is gone, and its log with it", job)
		case newest == nil:
			return false, nil
		}
		pod = newest.Name
		status, _ := newest.Body["status"].(map[string]any)
		return !follow || status["phase"] != string(corev1.PodPending), nil
	}
	if err := client.Await(ctx, hibernate.PodsResource(), r.namespace(), [][]string{{"status", "phase"}},
		find); err != nil {
		return err
	}
	return client.Logs(ctx, r.namespace(), pod, follow, r.Out)
}

package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/castai/kubectl-castai/internal/backup"
	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

type restoreOptions struct {
	*Root
	dir         string
	output      string
	dryRun      dryRun
	yes         bool
	acceptEdits bool
	timeout     time.Duration

	client *cluster.Client
	server cluster.Server
	saved  *backup.Backup
}

func newRestore(r *Root) *cobra.Command {
	o := &restoreOptions{Root: r}
	cmd := &cobra.Command{
		Use:   "restore DIR",
		Short: "Put back what offboard removed",
		Long: templates.LongDesc(`
			Puts back what offboard removed, from the folder that it saved it in. Shows the plan first, with all that can't
			come back, and asks you to type the cluster's name. Objects that are there as they were are left alone, so that
			it can be run again; objects that offboard stopped and did not remove are started again.

			Refuses a backup of another cluster, and one in which files were changed since.`),
		Example: r.example(`
			# Show what would be put back and ask before doing anything
			%[1]s restore castai-offboard-prod-20260102T150405Z

			# Only show it, or let the server check every write that it can check
			%[1]s restore castai-offboard-prod-20260102T150405Z --dry-run=client
			%[1]s restore castai-offboard-prod-20260102T150405Z --dry-run=server

			# In a script, with a report
			%[1]s restore castai-offboard-prod-20260102T150405Z --yes -o json`),
		ValidArgsFunction: first(completes(folders)),
		RunE:              run(o),
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "", "Output format of the plan or report: json or yaml")
	o.dryRun.addFlag(f)
	f.BoolVar(&o.yes, "yes", false, "Do not ask for confirmation")
	f.BoolVar(&o.acceptEdits, "accept-edits", false, "Restore files as they are now, although they were changed since the backup")
	waitVar(f, &o.timeout, "timeout", 10*time.Minute, "How long it may take")
	return cmd
}

// Complete takes the folder.
func (o *restoreOptions) Complete(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage(fmt.Errorf("which backup? Name its folder, and nothing else (got %d arguments)", len(args)))
	}
	o.dir = args[0]
	return nil
}

// Validate checks the flags.
func (o *restoreOptions) Validate() error { return outputFormats(o.output, "", "json", "yaml") }

// Run checks the backup, plans, asks and puts back.
func (o *restoreOptions) Run(cmd *cobra.Command) (err error) {
	ctx := cmd.Context()
	if o.saved, err = backup.Open(o.dir, o.acceptEdits); err != nil {
		return badBackup(usage(err))
	}
	defer func() { err = errors.Join(err, o.saved.Close()) }()
	if o.client, err = o.connect(ctx); err != nil {
		return err
	}
	if o.server, err = o.client.Identify(ctx); err != nil {
		return err
	}
	if err := o.sameCluster(); err != nil {
		return err
	}
	if err := o.allowed(ctx, o.client, "castai-restore", o.saved.LookRights()); err != nil {
		return err
	}
	situation, err := o.saved.Look(ctx, o.client)
	if err != nil {
		return badBackup(err)
	}
	r := o.saved.Restore(situation, o.client, o.timeout)
	if err := o.show(r); err != nil || o.dryRun == dryRunClient {
		return err
	}
	if err := o.allowed(ctx, o.client, "castai-restore", backup.Rights(r.Plan)); err != nil {
		return err
	}
	if o.dryRun == dryRunNone && r.Plan.Actions() > 0 {
		question := fmt.Sprintf("This puts %d objects back into cluster %s.", r.Plan.Actions(), o.server.DisplayName())
		if err := o.confirm(ctx, o.yes, question, o.server.DisplayName()); err != nil {
			return err
		}
	}
	return o.restore(ctx, r)
}

// badBackup refuses what must not be trusted. Other errors stay as they are.
func badBackup(err error) error {
	if _, ok := errors.AsType[*backup.Refusal](err); ok {
		return refused(err)
	}
	return err
}

// sameCluster refuses a backup of another cluster.
func (o *restoreOptions) sameCluster() error {
	from := o.saved.Index.Cluster
	switch o.server.KubeSystemUID {
	case from.KubeSystemUID:
		return nil
	case "":
		return refused(errors.New("you may not read the namespace kube-system, so nobody knows whether this is the cluster that the backup is from"))
	}
	return refused(fmt.Errorf("the backup is of another cluster, %s at %s: this one is %s at %s, and its namespace kube-system has another UID",
		from.DisplayName(), from.Host, o.server.DisplayName(), o.server.Host))
}

// show prints the plan: the document to stdout where one was asked for and
// nothing else follows, text otherwise.
func (o *restoreOptions) show(r *backup.Restoration) error {
	if o.output != "" {
		if o.dryRun == dryRunClient {
			return printer.Print(o.Out, o.output, printer.NewRestore(o.server, o.dir, o.saved, r, nil, nil))
		}
		return nil
	}
	text := printer.NewText(o.Out)
	text.RestorePlan(o.server, o.dir, o.saved, r)
	return text.Err()
}

// restore carries the plan out and says what became of it.
func (o *restoreOptions) restore(ctx context.Context, r *backup.Restoration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("the restore %w after %s: run it again to go on", engine.ErrTimeout, o.timeout))
	defer cancel()
	dry := o.dryRun == dryRunServer
	plan := r.Plan
	if dry {
		var unchecked int
		if plan, unchecked = backup.Checkable(plan); unchecked > 0 {
			if _, err := fmt.Fprintf(o.ErrOut, "%d of the writes can't be checked before their namespaces and kinds are there\n", unchecked); err != nil {
				return err
			}
		}
	}
	report, err := engine.Run(ctx, o.client, plan, engine.Options{DryRun: dry, OnEvent: printer.NewProgress(o.ErrOut, dry).Event})
	if o.output != "" {
		if printErr := printer.Print(o.Out, o.output, printer.NewRestore(o.server, o.dir, o.saved, r, report, err)); printErr != nil {
			return printErr
		}
	} else {
		text := printer.NewText(o.Out)
		text.Restored(o.server, report, len(r.Held))
		if printErr := text.Err(); printErr != nil {
			return printErr
		}
	}
	failed := report.Count(engine.ResultFailed)
	switch {
	case errors.Is(err, ErrInterrupted):
		return fmt.Errorf("%w: run it again to go on", err)
	case err != nil:
		return err
	case failed > 0 && dry:
		return fmt.Errorf("the server would refuse %d of the writes", failed)
	case failed > 0, len(r.Held) > 0:
		return &failure{ExitLeft, fmt.Errorf("not everything is back: refused by the server: %d, left as they are: %d", failed, len(r.Held))}
	}
	return nil
}

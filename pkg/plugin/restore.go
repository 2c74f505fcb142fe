package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
	dirs        []string
	output      string
	dryRun      dryRun
	yes         bool
	acceptEdits bool
	overwrite   bool
	digest      string
	timeout     time.Duration
	record      auditFlag

	client *cluster.Client
	server cluster.Server
	all    []*backup.Backup // the folders, oldest first
	saved  *backup.Backup   // what they are together
}

func newRestore(r *Root) *cobra.Command {
	o := &restoreOptions{Root: r, record: auditFlag{Root: r, command: "restore"}}
	cmd := &cobra.Command{
		Use:   "restore [DIR...]",
		Short: "Put back what offboard removed",
		Long: templates.LongDesc(`
			Puts back what offboard removed, from the folder that it saved it in. Shows the plan first, with all that can't
			come back, and asks you to type the cluster's name. Objects that are there as they were are left alone, so that
			it can be run again; objects that offboard stopped and did not remove are started again. What somebody has made
			anew since stays as it is, and the plan shows how it differs, unless --overwrite is given. All that comes back of
			RBAC is listed with what it grants.

			Several folders are restored together: that of an offboarding that was interrupted, and that of the one that went
			on. Without a folder, lists those that were made here of this cluster.

			Refuses a backup of another cluster, and one in which files were changed since. One that was not made here is
			restored only if you confirm it, or pass the digest that the offboarding printed.`),
		Example: r.example(`
			# Show what would be put back and ask before doing anything
			%[1]s restore castai-offboard-prod-20260102T150405Z

			# Which backups of this cluster are there?
			%[1]s restore

			# What an interrupted offboarding and the one that went on removed
			%[1]s restore castai-offboard-prod-20260102T150405Z castai-offboard-prod-20260102T153012Z

			# Only show it, or let the server check every write that it can check
			%[1]s restore castai-offboard-prod-20260102T150405Z --dry-run=client
			%[1]s restore castai-offboard-prod-20260102T150405Z --dry-run=server

			# In a script, with a report
			%[1]s restore castai-offboard-prod-20260102T150405Z --yes -o json`),
		ValidArgsFunction: completes(folders),
		RunE:              run(o),
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "", "Output format of the plan or report: json or yaml")
	o.dryRun.addFlag(f)
	f.BoolVar(&o.yes, "yes", false, "Do not ask for confirmation")
	f.BoolVar(&o.acceptEdits, "accept-edits", false,
		"Restore files as they are now, although they were changed since the backup")
	f.BoolVar(&o.overwrite, "overwrite", false,
		"Put the saved values into objects that somebody has made anew since, and keep what else is in them")
	f.StringVar(&o.digest, "digest", "", "Restore only what has this digest (of several folders, the newest)")
	waitVar(f, &o.timeout, "timeout", 10*time.Minute, "How long it may take")
	o.record.addFlag(f)
	return cmd
}

// Complete takes the folders.
func (o *restoreOptions) Complete(_ *cobra.Command, args []string) error {
	o.dirs = args
	return nil
}

// Validate checks the flags.
func (o *restoreOptions) Validate() error { return outputFormats(o.output, "", "json", "yaml") }

// Run checks the backups, plans, asks and puts back.
func (o *restoreOptions) Run(cmd *cobra.Command) (err error) {
	ctx := cmd.Context()
	if len(o.dirs) == 0 {
		return o.list(ctx)
	}
	if o.all, err = backup.OpenAll(o.dirs, o.acceptEdits); err != nil {
		return badBackup(usage(err))
	}
	defer func() { err = errors.Join(err, backup.CloseAll(o.all)) }()
	o.saved = backup.Merge(o.all)
	if o.client, err = o.connect(ctx); err != nil {
		return err
	}
	if o.server, err = o.client.Identify(ctx); err != nil {
		return err
	}
	if err := o.sameCluster(); err != nil {
		return err
	}
	made, err := o.ledger().Backups()
	if err != nil {
		return err
	}
	unknown, err := o.origin(made)
	if err != nil {
		return err
	}
	if err := o.allowed(ctx, o.client, "castai-restore", o.saved.LookRights()); err != nil {
		return err
	}
	situation, err := o.saved.Look(ctx, o.client)
	if err != nil {
		return badBackup(err)
	}
	r, err := o.saved.Restore(situation, o.client, backup.RestoreOptions{Timeout: o.timeout, Overwrite: o.overwrite})
	if err != nil {
		return badBackup(err)
	}
	if err := o.show(r, backup.Interrupted(made, o.server.KubeSystemUID, o.all[0].Index.Time)); err != nil ||
		o.dryRun == dryRunClient {
		return err
	}
	if err := o.allowed(ctx, o.client, "castai-restore", backup.Rights(r.Plan)); err != nil {
		return err
	}
	if o.dryRun == dryRunNone && r.Plan.Actions() > 0 {
		if err := o.confirmRestore(ctx, r, unknown); err != nil {
			return err
		}
	}
	return o.restore(ctx, r)
}

// list shows the backups of this cluster that were made here.
func (o *restoreOptions) list(ctx context.Context) (err error) {
	made, err := o.ledger().Backups()
	if err != nil {
		return err
	}
	if o.client, err = o.connect(ctx); err != nil {
		return err
	}
	if o.server, err = o.client.Identify(ctx); err != nil {
		return err
	}
	list := printer.NewBackups(o.server, backup.Folders(made, o.server.KubeSystemUID))
	if o.output != "" {
		return printer.Print(o.Out, o.output, list)
	}
	text := printer.NewText(o.Out)
	text.Backups(o.server, list, o.Name)
	return text.Err()
}

// origin refuses a backup that is not as it was made, and one that has another
// digest than the user asks for. It returns the folders that were not made here,
// as far as is known, and that nobody vouches for.
func (o *restoreOptions) origin(made []backup.Remembered) (unknown []*backup.Backup, err error) {
	newest := o.all[len(o.all)-1]
	if o.digest != "" && o.digest != newest.Digest {
		return nil, refused(fmt.Errorf("%s has the digest %s, not %s: somebody has changed it, or it is another backup",
			newest.Dir, newest.Digest, o.digest))
	}
	for _, b := range o.all {
		switch b.Origin(made) {
		case backup.OriginHere:
		case backup.OriginChanged:
			if !o.acceptEdits {
				return nil, refused(fmt.Errorf("%s in %s has been changed since the backup was made: --accept-edits restores it as it is now", backup.IndexName, b.Dir))
			}
		case backup.OriginUnknown:
			if !o.acceptEdits && (o.digest == "" || b != newest) {
				unknown = append(unknown, b)
			}
		}
	}
	return unknown, nil
}

// confirmRestore asks. A folder that anybody may have written is not restored on
// the word of --yes alone.
func (o *restoreOptions) confirmRestore(ctx context.Context, r *backup.Restoration, unknown []*backup.Backup) error {
	if o.yes && len(unknown) > 0 {
		b := unknown[0]
		return refused(fmt.Errorf("%s was not made here, so nobody knows whether somebody has changed it: pass --digest with the digest that the offboarding printed", b.Dir))
	}
	question := []string{fmt.Sprintf("This puts %s back into cluster %s.", objects(r.Plan.Actions()),
		o.server.DisplayName())}
	for _, b := range unknown {
		question = append(question, fmt.Sprintf(
			"%s was not made here: its digest, %s, should be the one that the offboarding printed.", b.Dir, b.Digest))
	}
	return o.confirm(ctx, o.yes, strings.Join(question, " "), o.server.DisplayName())
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
// nothing else follows, text otherwise. earlier are the folders of runs that
// were interrupted before those that are restored.
func (o *restoreOptions) show(r *backup.Restoration, earlier []backup.Folder) error {
	if o.output != "" {
		if o.dryRun == dryRunClient {
			return printer.Print(o.Out, o.output, printer.NewRestore(o.server, o.all, r, nil, nil))
		}
		return nil
	}
	text := printer.NewText(o.Out)
	text.RestorePlan(o.server, o.all, r)
	if len(earlier) > 0 {
		text.Continued(o.Name, append(earlier, backup.FoldersOf(o.all)...))
	}
	if o.dryRun == dryRunClient {
		text.NothingChanged(objects(r.Plan.Actions()) + " would be put back")
	}
	return text.Err()
}

// restore carries the plan out and says what became of it.
func (o *restoreOptions) restore(ctx context.Context, r *backup.Restoration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("the restore %w after %s: run it again to go on",
		engine.ErrTimeout, o.timeout))
	defer cancel()
	dry := o.dryRun == dryRunServer
	plan := r.Plan
	if dry {
		var unchecked int
		if plan, unchecked = backup.Checkable(plan); unchecked > 0 {
			if _, err := fmt.Fprintf(o.ErrOut, "%d of the writes can't be checked before their namespaces and kinds are there\n",
				unchecked); err != nil {
				return err
			}
		}
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	if !dry && o.record.file != "" {
		if err := o.record.begin(ctx, end, o.client, o.server, ""); err != nil {
			return err
		}
	}
	report, err := engine.Run(ctx, o.client, plan, engine.Options{DryRun: dry,
		OnEvent: printer.NewProgress(o.ErrOut, dry).Event})
	held := len(r.Held) + report.Count(engine.ResultKept)
	o.record.finish(err)
	if o.output != "" {
		if printErr := printer.Print(o.Out, o.output, printer.NewRestore(o.server, o.all, r, report, err)); printErr != nil {
			return printErr
		}
	} else {
		text := printer.NewText(o.Out)
		text.Restored(o.server, report, held)
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
	case failed > 0, held > 0:
		return &failure{ExitLeft, fmt.Errorf("not everything is back: refused by the server: %d, left as they are: %d",
			failed, held)}
	}
	return nil
}

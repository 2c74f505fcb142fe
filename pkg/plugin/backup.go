package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/pflag"
	"k8s.io/client-go/util/homedir"

	"github.com/castai/kubectl-castai/internal/backup"
	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// saving is what a command that removes things does about a backup.
type saving struct {
	auditFlag
	task    string // in the name of the folder
	none    bool
	dir     string
	secrets bool
	more    map[string][]byte // files that go into the backup, beside the objects
	folder  string            // of the backup, once there is one
}

// newSaving returns what a command saves and records. The task names it.
func newSaving(r *Root, task, command string) saving {
	return saving{auditFlag: auditFlag{Root: r, command: command}, task: task}
}

func (s *saving) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&s.none, "no-backup", false, "Do not save what is removed: it can't be put back")
	f.StringVar(&s.dir, "backup-dir", "", fmt.Sprintf("Folder to make for the backup (default ./castai-%s-CLUSTER-TIME)",
		s.task))
	f.BoolVar(&s.secrets, "backup-secrets", true,
		"Save the data of Secrets, too; without it restore can't put Secrets back")
	s.addFlag(f)
}

func (s *saving) validate() error {
	if s.none && s.dir != "" {
		return usage(errors.New("--no-backup and --backup-dir contradict each other"))
	}
	return nil
}

// rights adds to those that carrying out the plan needs those that saving needs.
func (s *saving) rights(plan *engine.Plan, rights []cluster.Right) []cluster.Right {
	if s.none {
		return rights
	}
	seen := map[cluster.Right]bool{}
	for _, r := range rights {
		seen[r] = true
	}
	for _, phase := range plan.Phases {
		for _, a := range phase.Actions {
			if a.Verb == engine.Call {
				continue
			}
			for _, verb := range []string{"get", "list"} {
				r := cluster.Right{Group: a.Target.Group, Resource: a.Target.Resource, Namespace: a.Target.Namespace, Verb: verb}
				if !seen[r] {
					seen[r] = true
					rights = append(rights, r)
				}
			}
		}
	}
	return rights
}

// save makes the backup, says where it is, and opens the report in it. If no
// backup is wanted, the report is written nowhere.
func (s *saving) save(ctx context.Context, client *cluster.Client, inv *ownership.Inventory,
	plan *engine.Plan) (*backup.Journal, error) {
	if s.none {
		return &backup.Journal{}, nil
	}
	saved, journal, err := s.open(ctx, client, inv, plan)
	if err != nil {
		return nil, err
	}
	s.sealed(saved)
	return journal, nil
}

// sealed prints the digest of a backup that nothing is added to any more: restore
// asks for it where nobody remembers the folder.
func (s *saving) sealed(saved *backup.Saved) {
	printer.NewText(s.ErrOut).Message("The digest of the backup: " + saved.Digest)
}

// open makes the backup and the report in it.
func (s *saving) open(ctx context.Context, client *cluster.Client, inv *ownership.Inventory,
	plan *engine.Plan) (*backup.Saved, *backup.Journal, error) {
	saved, err := backup.Write(ctx, client, inv, plan, backup.Options{Dir: s.dir, Task: s.task, WithoutSecrets: !s.secrets,
		Tool: s.Version.Version, Note: s.note, More: s.more})
	if err != nil {
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		return nil, nil, refused(fmt.Errorf("the backup can't be made, so nothing was changed: %w (--backup-dir names another folder, --no-backup removes without a backup)", err))
	}
	secrets := "The data of Secrets is not in it: restore can't put Secrets back."
	if saved.Secrets > 0 {
		secrets = fmt.Sprintf("It contains Secrets (%d): keep it as safe as the cluster's own credentials.", saved.Secrets)
	} else if s.secrets {
		secrets = "No Secret is in it."
	}
	text := printer.NewText(s.ErrOut)
	text.Saved(saved.Dir, saved.Objects, secrets, s.Name)
	if err := text.Err(); err != nil {
		return nil, nil, err
	}
	if err := s.continued(saved); err != nil {
		return nil, nil, err
	}
	s.folder = saved.Dir
	if err := s.intoBackup(saved.Dir); err != nil {
		return nil, nil, err
	}
	journal, err := backup.OpenJournal(saved.Dir)
	if err != nil {
		return nil, nil, refused(fmt.Errorf("the report can't be written into the backup, so nothing was changed: %w", err))
	}
	return saved, journal, nil
}

// ledger is where the backups of this user are remembered.
func (r *Root) ledger() backup.Ledger { return backup.LedgerIn(homedir.HomeDir()) }

// note remembers a state of a backup, so that restore can tell it from one that
// somebody has changed. Where it can't be remembered, restore will ask.
func (s *saving) note(r backup.Remembered) error {
	err := s.ledger().Remember(r)
	if err != nil {
		_, err = fmt.Fprintf(s.ErrOut,
			"The digest of the backup can't be noted (%s): restore will want to be told, with --digest=%s\n",
			printer.Escape(err.Error()), r.Digest)
	}
	return err
}

// continued names the folders of interrupted runs before this one.
func (s *saving) continued(saved *backup.Saved) error {
	made, err := s.ledger().Backups()
	if err != nil || s.task != backup.Offboard {
		return nil //nolint:nilerr // what can't be read has been said
	}
	i := slices.IndexFunc(made, func(r backup.Remembered) bool { return r.Digest == saved.Digest })
	if i < 0 {
		return nil
	}
	text := printer.NewText(s.ErrOut)
	if earlier := backup.Interrupted(made, made[i].KubeSystemUID, made[i].Time); len(earlier) > 0 {
		text.Continued(s.Name, append(earlier, backup.Folder{Remembered: made[i]}))
	}
	return text.Err()
}

// recorded lets a journal see the events first.
func recorded(journal *backup.Journal, show func(engine.Event)) func(engine.Event) {
	return func(e engine.Event) {
		journal.Event(e)
		show(e)
	}
}

// closeJournal ends the report in the backup. That it is incomplete is no
// reason for the command to fail.
func (s *saving) closeJournal(journal *backup.Journal, runErr error) {
	if err := journal.Close(runErr); err != nil {
		_, _ = fmt.Fprintf(s.ErrOut, "the report in the backup is incomplete: %s\n", printer.Escape(err.Error()))
	}
}

package plugin

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/castai/kubectl-castai/internal/audit"
	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/cluster"
)

// auditFlag is where a record of every write goes, beside the backup.
type auditFlag struct {
	*Root
	command string
	file    string
	files   []string // that have the record, once the run is over
}

func (a *auditFlag) addFlag(f *pflag.FlagSet) {
	f.StringVar(&a.file, "audit-file", "",
		"Append a record to this file (JSON lines): who did what, and each write with its answer")
}

// begin opens the record of a run: from then on nothing is changed that is not in
// it, and end is called with why where that is no longer possible. The error is a
// refusal: nothing was changed by then. digest is that of the plan, if there is one.
func (a *auditFlag) begin(ctx context.Context, end func(error), client *cluster.Client, s cluster.Server,
	digest string) error {
	run := audit.Run{
		Command: a.command, Tool: a.Version.Version, Cluster: s.DisplayName(), Context: s.Context, Server: s.Host,
		KubeSystemUID: s.KubeSystemUID, PlanDigest: digest,
	}
	var err error
	if run.User, err = client.WhoAmI(ctx); err != nil {
		run.Problem = err.Error()
	}
	a.audit.Begin(run, end)
	if a.file == "" {
		return nil
	}
	return a.into(a.file)
}

// into adds a file to the record.
func (a *auditFlag) into(path string) error {
	if err := a.audit.Add(path); err != nil {
		return refused(fmt.Errorf("the audit record can't be written, so nothing was changed: %w", err))
	}
	return nil
}

// intoBackup adds a file in the folder of a backup.
func (a *auditFlag) intoBackup(dir string) error { return a.into(filepath.Join(dir, audit.FileName)) }

// finish ends the record. That its end is missing is no reason for the command to
// fail: a write that could not be recorded has ended the run before.
func (a *auditFlag) finish(runErr error) {
	a.files = a.audit.Files()
	if err := a.audit.End(runErr); err != nil && runErr == nil {
		_, _ = fmt.Fprintf(a.ErrOut, "The audit record is incomplete: %s\n", printer.Escape(err.Error()))
	}
}

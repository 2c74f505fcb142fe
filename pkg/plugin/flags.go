package plugin

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/klog/v2"

	"github.com/castai/kubectl-castai/internal/printer"
)

// logFlags are klog's, of which -v is for the user: what client-go logs, each
// request from 6 on (of one that was tried again, the last answer and the whole
// time), with contents from 8 on (k8s.io/client-go, transport).
func logFlags() *flag.FlagSet {
	f := flag.NewFlagSet("", flag.ContinueOnError)
	klog.InitFlags(f)
	f.Lookup("v").Usage = "Log level, as in kubectl: 6 shows each request, 8 and more also what is in it, Secrets included"
	return f
}

// logTo sends all logs to a stream, each once.
func logTo(f *flag.FlagSet, w io.Writer) error {
	klog.SetOutput(escaping{w})
	return errors.Join(f.Set("logtostderr", "false"), f.Set("stderrthreshold", "FATAL"), f.Set("one_output", "true"))
}

// escaping writes lines so that nothing in them acts on a terminal.
type escaping struct{ w io.Writer }

func (e escaping) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		if _, err := fmt.Fprintln(e.w, printer.Escape(strings.TrimSuffix(line, "\n"))); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// dryRun is the value of --dry-run, as in kubectl.
type dryRun string

// Values of --dry-run.
const (
	dryRunNone   dryRun = "none"
	dryRunClient dryRun = "client"
	dryRunServer dryRun = "server"
)

// addFlag adds --dry-run; without a value it is client.
func (d *dryRun) addFlag(f *pflag.FlagSet) {
	*d = dryRunNone
	f.Var(d, "dry-run", "none; client: only show the plan; server: also send every write to the cluster as a dry run")
	f.Lookup("dry-run").NoOptDefVal = string(dryRunClient)
}

// String returns the value.
func (d *dryRun) String() string { return string(*d) }

// Type names the kind of value in help.
func (d *dryRun) Type() string { return "string" }

// Set takes the value from a flag.
func (d *dryRun) Set(text string) error {
	switch value := dryRun(text); value {
	case dryRunNone, dryRunClient, dryRunServer:
		*d = value
		return nil
	}
	return errors.New("it is none, client or server")
}

// wait is a flag that says how long to wait: at least a given time.
type wait struct {
	*time.Duration
	least time.Duration
}

// waitVar adds a flag for a time that must be more than none.
func waitVar(f *pflag.FlagSet, p *time.Duration, name string, value time.Duration, usage string) {
	*p = value
	f.Var(wait{p, 1}, name, usage)
}

// waitOrNotVar adds a flag for a time that may be 0, for no waiting.
func waitOrNotVar(f *pflag.FlagSet, p *time.Duration, name string, value time.Duration, usage string) {
	*p = value
	f.Var(wait{p, 0}, name, usage)
}

// Type names the kind of value in help.
func (w wait) Type() string { return "duration" }

// Set takes the value from a flag.
func (w wait) Set(text string) error {
	value, err := time.ParseDuration(text)
	if err != nil {
		return err
	}
	if value < w.least {
		return fmt.Errorf("%s is too short", value)
	}
	*w.Duration = value
	return nil
}

package plugin

import (
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func TestFlagValues(t *testing.T) {
	for _, c := range []struct {
		flag string
		ok   bool
	}{
		{"--dry-run", true}, {"--dry-run=none", true}, {"--dry-run=server", true}, {"--dry-run=", false}, {"--dry-run=maybe",
			false},
		{"--timeout=1ns", true}, {"--timeout=0s", false}, {"--timeout=-1s", false}, {"--timeout=5", false}, {"--timeout=",
			false},
		{"--settle=0", true}, {"--settle=-1ns", false},
	} {
		t.Run(c.flag, func(t *testing.T) {
			var dry dryRun
			var timeout, settle time.Duration
			f := pflag.NewFlagSet("", pflag.ContinueOnError)
			dry.addFlag(f)
			waitVar(f, &timeout, "timeout", time.Minute, "")
			waitOrNotVar(f, &settle, "settle", time.Second, "")
			if dry != dryRunNone || timeout != time.Minute || settle != time.Second {
				t.Errorf("defaults are %s, %s, %s", dry, timeout, settle)
			}
			if err := f.Parse([]string{c.flag}); (err == nil) != c.ok {
				t.Errorf("parsed with %v", err)
			}
		})
	}
}

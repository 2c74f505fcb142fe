package plugin

import (
	"strings"
	"testing"
)

// TestUnstickTakesOneObject holds how an object is named, before a cluster is asked.
func TestUnstickTakesOneObject(t *testing.T) {
	for args, says := range map[string]string{
		"":                                   "which object?",
		"pod":                                "TYPE/NAME or TYPE NAME",
		"pod/":                               "TYPE/NAME or TYPE NAME",
		"/web":                               "TYPE/NAME or TYPE NAME",
		"pod web more":                       "TYPE/NAME or TYPE NAME",
		"pod/shop/web":                       "TYPE/NAME or TYPE NAME",
		"pod/web --also=all":                 "--also takes",
		"pod/web -o table":                   "there is no output format",
		"pod/web --force":                    "unknown flag: --force",
		"pod/web --no-backup --backup-dir=x": "contradict each other",
	} {
		_, err := invoke(t, "kubectl castai", append([]string{"unstick"}, strings.Fields(args)...)...)
		if ExitCode(err) != ExitUsage || !strings.Contains(err.Error(), says) {
			t.Errorf("unstick %s: %v, want %q", args, err, says)
		}
	}
}

package shell

import (
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/test/terminal"
)

// Ctrl-C in the middle of what is drawn over leaves a screen that can be read:
// what was done, and how it ended, each on lines of their own.
func TestInterrupt(t *testing.T) {
	stuck(t, "castai-held")
	cmd := admin.With("TERM=xterm-256color").Command(t.Context(), "unstick-ns", "castai-held", "--yes", "--no-backup",
		"--patience=30s")
	screen, err := terminal.Start(cmd, 80, 60)
	if err != nil {
		t.Fatal(err)
	}
	if err := screen.Until("  waiting for Namespace/castai-held", commandTimeout); err != nil {
		t.Fatal(err)
	}
	if err := screen.Type("\x03"); err != nil {
		t.Fatal(err)
	}
	if err := screen.Ended(commandTimeout); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("it ended with %v", err)
	}
	text := screen.Text()
	if strings.Contains(text, "  waiting for ") || strings.Contains(text, "^C") {
		t.Errorf("what was drawn over is left:\n%s", text)
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "kubectl castai: interrupted") {
		t.Errorf("the last line is %q of\n%s", last, text)
	}
}

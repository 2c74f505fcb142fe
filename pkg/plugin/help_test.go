package plugin

import (
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// Every command has examples, and every example is one that the command takes:
// the plugin's name first, then a command, then flags that there are.
func TestExamples(t *testing.T) {
	quoted := regexp.MustCompile(`'[^']*'`)
	for _, name := range []string{"kubectl castai", "kubectl cast-ai", "castai"} {
		root := New(name, Version{}, genericiooptions.IOStreams{})
		for _, cmd := range append(root.Commands(), root) {
			n := 0
			for line := range strings.Lines(cmd.Example) {
				line = strings.TrimSpace(line)
				if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "chmod ") {
					continue
				}
				n++
				line = strings.TrimSuffix(strings.TrimPrefix(line, "source <("), ")")
				line, _, _ = strings.Cut(line, " | ")
				line, _, _ = strings.Cut(line, " > ")
				rest, ok := strings.CutPrefix(line, name+" ")
				if !ok {
					t.Errorf("%s: the example %q does not begin with %s", cmd.Name(), line, name)
					continue
				}
				words := strings.Fields(quoted.ReplaceAllString(rest, "text"))
				taken(t, New(name, Version{}, genericiooptions.IOStreams{}), cmd, words)
			}
			if n == 0 {
				t.Errorf("%s has no examples", cmd.Name())
			}
			if cmd != root && cmd.GroupID == "" {
				t.Errorf("%s is in no group", cmd.Name())
			}
		}
	}
}

// taken fails the test unless root understands the words of an example of a
// command, or of a group of commands.
func taken(t *testing.T, root, of *cobra.Command, words []string) {
	t.Helper()
	found, rest, err := root.Find(words)
	if err != nil || of != root && of.HasParent() && found.Name() != of.Name() && found.Parent().Name() != of.Name() {
		t.Errorf("%q is no example of %s: %v", words, of.Name(), err)
		return
	}
	if err := found.ParseFlags(rest); err != nil {
		t.Errorf("%q: %v", words, err)
	}
}

// What --namespace means is said where it means something.
func TestNamespaceInHelp(t *testing.T) {
	for args, want := range map[string]string{
		"unstick": "-n, --namespace: the namespace of the object", "hibernate status": "the namespace of the CronJobs",
		"unstick-ns": "",
	} {
		help, err := invoke(t, "kubectl castai", append(strings.Fields(args), "--help")...)
		if err != nil || strings.Contains(help, "With -n") != (want != "") || !strings.Contains(help, want) {
			t.Errorf("%s: %v: %s", args, err, help)
		}
	}
}

// What all commands share is not repeated in the help of each.
func TestGlobalFlags(t *testing.T) {
	help, err := invoke(t, "kubectl castai", "offboard", "--help")
	if err != nil || strings.Contains(help, "--as-uid") || !strings.Contains(help, "kubectl castai options") ||
		!strings.Contains(help, "--yes") {
		t.Errorf("%v: %s", err, help)
	}
	options, err := invoke(t, "kubectl castai", "options")
	if err != nil || !strings.Contains(options, "--as-uid") || strings.Contains(options, "--yes") {
		t.Errorf("%v: %s", err, options)
	}
}

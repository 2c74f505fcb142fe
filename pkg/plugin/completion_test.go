package plugin

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

func TestArguments(t *testing.T) {
	for _, tc := range []struct {
		argv, want []string
		completing bool
	}{
		{[]string{"/bin/kubectl-castai", "status"}, []string{"status"}, false},
		{[]string{"kubectl-castai"}, []string{}, false},
		{[]string{"/usr/bin/kubectl_complete-castai", "status", ""}, []string{"__complete", "status", ""}, true},
		{[]string{"kubectl_complete-cast_ai.exe", "s"}, []string{"__complete", "s"}, true},
	} {
		if got := Arguments(tc.argv); !slices.Equal(got, tc.want) || Completing(tc.argv) != tc.completing {
			t.Errorf("%q: %q, completing: %v", tc.argv, got, Completing(tc.argv))
		}
	}
}

func TestCompletes(t *testing.T) {
	all := words("status", "stop\twhat it does", "s\x1b[31m", "st\tevil \x07 bell", "restore", "start")
	cmd := &cobra.Command{}
	cmd.SetContext(t.Context())
	got, _ := completes(all)(cmd, []string{"start"}, "st")
	if want := []string{"status", "stop\twhat it does"}; !slices.Equal(got, want) {
		t.Errorf("got %q, not %q", got, want)
	}
}

func TestCompletesInTime(t *testing.T) {
	cmd := &cobra.Command{}
	cmd.SetContext(t.Context())
	got, _ := completes(func(ctx context.Context, _ string) ([]string, cobra.ShellCompDirective) {
		<-ctx.Done() // a cluster that does not answer
		return nil, cobra.ShellCompDirectiveNoFileComp
	})(cmd, nil, "")
	if len(got) > 0 {
		t.Errorf("got %q", got)
	}
}

// invoke runs a command that needs no cluster.
func invoke(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := New(name, Version{Version: "v1.2.3"}, genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out,
		ErrOut: &out})
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestScripts(t *testing.T) {
	for _, tc := range []struct{ name, shell, want string }{
		{"kubectl castai", "bash", "complete -o default -F __start_kubectl-castai kubectl-castai"},
		{"kubectl castai", "zsh", "#compdef kubectl-castai"},
		{"kubectl castai", "fish", "complete -c kubectl-castai"},
		{"kubectl castai", "powershell", "Register-ArgumentCompleter -CommandName 'kubectl-castai'"},
		{"kubectl castai", "kubectl", `exec kubectl castai __complete "$@"`},
		{"kubectl cast-ai", "kubectl", "kubectl_complete-cast_ai"},
	} {
		out, err := invoke(t, tc.name, "completion", tc.shell)
		if err != nil || !strings.Contains(out, tc.want) {
			t.Errorf("%s completion %s: %v: no %q in %s", tc.name, tc.shell, err, tc.want, out)
		}
	}
	for _, args := range [][]string{{}, {"tcsh"}, {"bash", "zsh"}, {"bash", "--install"}} {
		if _, err := invoke(t, "kubectl castai", append([]string{"completion"}, args...)...); ExitCode(err) != ExitUsage {
			t.Errorf("completion %q: %v", args, err)
		}
	}
}

func TestInstallCompletion(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if out, err := invoke(t, "kubectl castai", "completion", "kubectl", "--install"); err == nil {
		t.Fatalf("without the plugin on PATH: %s", out)
	}
	exe := map[bool]string{true: ".exe"}[runtime.GOOS == "windows"]
	if err := os.WriteFile(filepath.Join(dir, "kubectl-castai"+exe), nil, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "kubectl_complete-castai"+exe)
	for range 2 { // the second time it is there
		if out, err := invoke(t, "kubectl castai", "completion", "kubectl", "--install"); err != nil ||
			!strings.Contains(out, link) {
			t.Fatalf("%v: %s", err, out)
		}
		if target, err := os.Readlink(link); err != nil || target != "kubectl-castai"+exe {
			t.Fatalf("it points to %s: %v", target, err)
		}
	}
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(link, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := invoke(t, "kubectl castai", "completion", "kubectl", "--install"); err == nil ||
		!strings.Contains(err.Error(), "left alone") {
		t.Errorf("a file of somebody else's: %v", err)
	}
	if content, err := os.ReadFile(link); err != nil || string(content) != "mine" {
		t.Errorf("it is now %s: %v", content, err)
	}
}

// Every flag that takes a value either says what it may become, or is known to
// take what nobody can guess.
func TestFlagsAreCompleted(t *testing.T) {
	guess := []string{
		"as", "as-group", "as-uid", "as-user-extra", "request-timeout", "server", "tls-server-name", "token",
		"api-url", "cluster-id", "digest", "finalizer", "relax-crd", "remove-apiservice",
	}
	for _, cmd := range New("kubectl castai", Version{}, genericiooptions.IOStreams{}).Commands() {
		for line := range strings.Lines(cmd.LocalFlags().FlagUsages() + cmd.InheritedFlags().FlagUsages()) {
			_, name, found := strings.Cut(line, "--")
			if !found {
				continue
			}
			name = strings.Fields(name)[0]
			name, _, _ = strings.Cut(name, "[")
			flag := cmd.Flag(name)
			if flag == nil {
				t.Fatalf("%s has no flag %q in %s", cmd.Name(), name, line)
			}
			if _, there := cmd.GetFlagCompletionFunc(name); !there &&
				!slices.Contains([]string{"bool", "duration"}, flag.Value.Type()) && !slices.Contains(guess, name) {
				t.Errorf("nothing completes %s --%s", cmd.Name(), name)
			}
		}
	}
}

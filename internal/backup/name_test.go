package backup

import (
	"encoding/hex"
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// decodeName is the reverse of encodeName. Only the name of a shortened one is
// not in it: the index has it.
func decodeName(file string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(file); i++ {
		if file[i] != '%' {
			b.WriteByte(file[i])
			continue
		}
		if i+2 >= len(file) {
			return "", fmt.Errorf("%q ends inside of an escape", file)
		}
		raw, err := hex.DecodeString(file[i+1 : i+3])
		if err != nil {
			return "", fmt.Errorf("%q is not an escaped name: %w", file, err)
		}
		b.Write(raw)
		i += 2
	}
	if name := b.String(); encodeName(name) == file {
		return name, nil
	}
	return "", fmt.Errorf("%q is not the name of a file in a backup", file)
}

func TestFileName(t *testing.T) {
	agent := cluster.Target{Ref: cluster.Ref{Group: "apps", Kind: "Deployment", Namespace: "castai-agent",
		Name: "castai-agent"}, Version: "v1", Resource: "deployments"}
	role := cluster.Target{Ref: cluster.Ref{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole",
		Name: "system:castai"}, Version: "v1", Resource: "clusterroles"}
	secret := cluster.Target{Ref: cluster.Ref{Kind: "Secret", Namespace: "con", Name: "x"}, Version: "v1",
		Resource: "secrets"}
	for want, target := range map[string]cluster.Target{
		"namespaces/castai-agent/deployments.apps/castai-agent.yaml":          agent,
		"cluster/clusterroles.rbac.authorization.k8s.io/system%3Acastai.yaml": role,
		"namespaces/%63on/secrets/x.yaml":                                     secret,
	} {
		if got := FileName(target); got != want {
			t.Errorf("%s: %s, want %s", target.Ref, got, want)
		}
	}
}

func TestNamesAreSafeAndComeBack(t *testing.T) {
	names := []string{
		"castai-agent", "a.b.c", "system:node", "Upper", "upper", "UPPER", "con", "CON", "con.yaml", "com1", "com10",
		"lpt9.x", "nul.tar.gz", "console",
		"..", ".", "...", ".hidden", "ends.", "with space", "tab\there", "line\nfeed", "back\\slash", "quote\"'",
		"star*?<>|", "ünïcödé", "\x00", "\xff\xfe",
		"\u202egnp.exe", "~", "-rf", "$HOME", strings.Repeat("a", 200), "*", "name@v1", "%", "%41", "%zz",
	}
	seen := map[string]string{}
	for _, name := range names {
		file := encodeName(name)
		for _, c := range file {
			if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789._-%ABCDEF", c) {
				t.Errorf("%q has %q in its file name %q", name, c, file)
			}
		}
		if path.Clean(file) != file || strings.HasPrefix(file, ".") || reserved(file) {
			t.Errorf("%q is unsafe as %q", name, file)
		}
		if other, ok := seen[strings.ToLower(file)]; ok {
			t.Errorf("%q and %q are the same file %q", name, other, file)
		}
		seen[strings.ToLower(file)] = name
		back, err := decodeName(file)
		if err != nil || back != name {
			t.Errorf("%q came back from %q as %q, %v", name, file, back, err)
		}
	}
}

func TestLongNames(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range []string{strings.Repeat("a", 201), strings.Repeat("a", 202), strings.Repeat(":", 253),
		strings.Repeat("ü", 5000)} {
		file := encodeName(name)
		if len(file) > longestName || seen[file] || !strings.Contains(file, "~") {
			t.Errorf("%.20q... is %q", name, file)
		}
		seen[file] = true
	}
}

func TestNamesThatAreNoneOfOurs(t *testing.T) {
	for _, file := range []string{"%", "%4", "%4x", "%41bc%", "%61", "A", "a/b", "con", ".."} {
		if name, err := decodeName(file); err == nil {
			t.Errorf("%q was read as %q", file, name)
		}
	}
}

func TestFolderName(t *testing.T) {
	for in, want := range map[string]string{
		"prod": "prod", "arn:aws:eks:eu-west-1:1234:cluster/prod": "arn-aws-eks-eu-west-1-1234-cluster-prod",
		"https://10.0.0.1:6443": "https-10.0.0.1-6443", "../../etc": "etc", "": "cluster", "//": "cluster",
		"\x1b[31mred":            "31mred",
		strings.Repeat("x", 300): strings.Repeat("x", 80),
	} {
		if got := folderName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

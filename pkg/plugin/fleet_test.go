package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWorst(t *testing.T) {
	left, broken := fmt.Errorf("%w: 3 objects", errLeft), errors.New("no route to host")
	for _, test := range []struct {
		errs []error
		code int
		says string
	}{
		{[]error{nil, nil}, ExitOK, ""},
		{[]error{nil, left}, ExitLeft, "context b: "},
		{[]error{left, broken}, ExitFailed, "context b: no route"},
		{[]error{broken, left}, ExitFailed, "context a: no route"},
		{[]error{left, left}, ExitLeft, "context a: "},
	} {
		err := worst([]string{"a", "b"}, test.errs)
		if ExitCode(err) != test.code || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%v: %v", test.errs, err)
		}
	}
}

// A cluster that can't be asked has a line that says so, and is no success.
func TestFleetOfClustersThatAreAway(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config")
	err := os.WriteFile(config, []byte(`{apiVersion: v1, kind: Config,
		clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}],
		contexts: [{name: "arn:aws:eks:eu-west-1:1:cluster/a", context: {cluster: c}}, {name: b, context: {cluster: c}}]}`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	out, err := invoke(t, "kubectl castai", "verify", "--all-contexts", "-o", "json", "-q", "--kubeconfig="+config)
	if ExitCode(err) == ExitOK || ExitCode(err) == ExitLeft {
		t.Errorf("it ended with %v", err)
	}
	lines := 0
	for line := range strings.Lines(out) {
		var s struct{ Context, Error string }
		if json.Unmarshal([]byte(line), &s) != nil {
			continue // progress
		}
		if lines++; s.Context == "" || s.Error == "" {
			t.Errorf("%s", line)
		}
	}
	if lines != 2 {
		t.Errorf("%d lines in\n%s", lines, out)
	}
	for _, args := range []string{"--contexts=nowhere", "--contexts=b --all-contexts", "--contexts=b --context=b",
		"--contexts=b -o yaml"} {
		if _, err := invoke(t, "kubectl castai", append([]string{"verify", "--kubeconfig=" + config},
			strings.Fields(args)...)...); ExitCode(err) != ExitUsage {
			t.Errorf("%s: %v", args, err)
		}
	}
}

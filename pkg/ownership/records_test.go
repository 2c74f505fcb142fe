package ownership_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/pkg/ownership"
)

// slowRecords are what the administrator of a home may write so that reading it
// takes long: the manifest of a release, or the path and the manifest of its hook.
func slowRecords() map[string][2]string {
	// Each alias stands for nine of the one before: followed, they are millions of values.
	bomb := "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 8; i++ {
		bomb += fmt.Sprintf("  a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d,", i-1), 8), i-1)
	}
	document := func(metadata string) string {
		return "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n  " + metadata + "\n"
	}
	many := func(text string) [2]string { return [2]string{strings.Repeat(text, min(4_999, (15<<20)/len(text)))} }
	mine := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine}\n"
	var listings strings.Builder
	for i := range 4_999 {
		fmt.Fprintf(&listings, "---\n# Source: castai-agent/charts/c%d/templates/x.yaml\n%s", i, mine)
	}
	// Liqo's chart is Cast AI's only within others, which are looked for all along the path.
	charts := "castai-agent/" + strings.Repeat("charts/liqo/", 1<<20) + "templates/x.yaml"
	return map[string][2]string{
		"aliases":        many(document(bomb)),
		"empty lists":    many(document("l: [" + strings.Repeat("[],", 5<<10) + "]")),
		"deep lists":     many(document("l:\n    " + strings.Repeat("- ", 7<<10) + "x")),
		"source":         many("---\n# Source: " + charts[:15<<10] + "\n" + mine),
		"listings":       {listings.String()},
		"path of a hook": {strings.Repeat("---\n"+mine, 4_999), charts},
	}
}

// However many records somebody writes into a home, and whatever is in them, to read
// all of them takes little time.
func TestRecordsTogetherAreBounded(t *testing.T) {
	for name, content := range slowRecords() {
		t.Run(name, func(t *testing.T) {
			s := new(scene).install(t, "charts/castai-agent", install{"castai-agent", "castai-agent", true})
			s.yaml(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine, namespace: castai-agent}\n")
			manifest, hooks := content[0], []map[string]string(nil)
			if content[1] != "" {
				manifest, hooks = "", []map[string]string{{"path": content[1], "manifest": content[0]}}
			}
			for i := range 20 {
				release := fmt.Sprintf("r%d", i)
				s.record("castai-agent", release, releaseJSON(t, release, "castai-agent", "castai-agent", "1.0.0", manifest, hooks))
			}
			snap := s.snapshot(t)
			start := time.Now()
			inv := judge(t, snap, s.records, ownership.Options{})
			took := time.Since(start)
			t.Logf("%v, %d unreadable", took.Round(10*time.Millisecond), len(inv.Unreadable))
			if took > time.Minute {
				t.Errorf("it took %v", took)
			}
			if len(inv.Unreadable) == 0 || !strings.Contains(inv.Unreadable[0].Message, "Helm records together") {
				t.Errorf("what was not read is not named: %v", inv.Unreadable)
			}
		})
	}
}

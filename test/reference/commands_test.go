package reference

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/castai/kubectl-castai/pkg/plugin"
)

// Every command that the documentation tells to type is one that the plugin
// takes.
func TestCommands(t *testing.T) {
	var pages []string
	for _, pattern := range []string{"../../*.md", "../../docs/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	line := regexp.MustCompile("(?m)^ {4,}(?:\\$ )?kubectl castai ([^|>#`\n]*)|`kubectl castai ([^`]*)`")
	ends := regexp.MustCompile(`(\s{2,}|; |\|\|).*`)
	n := 0
	for _, page := range pages {
		content, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range line.FindAllStringSubmatch(string(content), -1) {
			words := strings.Fields(ends.ReplaceAllString(strings.ReplaceAll(match[1]+match[2], "\n", " "), ""))
			root := plugin.New("kubectl castai", plugin.Version{},
				genericiooptions.IOStreams{In: strings.NewReader(""), Out: io.Discard, ErrOut: io.Discard})
			cmd, rest, err := root.Find(words)
			if err == nil {
				err = cmd.ParseFlags(rest)
			}
			if err != nil || cmd == root && len(words) > 0 && !strings.HasPrefix(words[0], "-") {
				t.Errorf("%s: kubectl castai %q: %v", page, words, err)
			}
			n++
		}
	}
	if n < 20 {
		t.Errorf("only %d commands found in %d pages", n, len(pages))
	}
}

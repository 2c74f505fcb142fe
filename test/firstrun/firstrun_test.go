package firstrun

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// masked is a line without what differs from run to run: ids, digests, times, ports.
func masked(line string) string {
	line = regexp.MustCompile(`[0-9a-f]{12,}`).ReplaceAllString(line, "H")
	return strings.TrimSpace(regexp.MustCompile(`[0-9]+`).ReplaceAllString(line, "N"))
}

// transcripts are the commands of a page with what they print, in its order.
func transcripts(page string) (commands []string, lines map[string][]string) {
	lines = map[string][]string{}
	command := ""
	for line := range strings.SplitSeq(page, "\n") {
		text, block := strings.CutPrefix(line, "    ")
		if typed, prompt := strings.CutPrefix(text, "$ kubectl castai "); block && prompt {
			command = typed
			commands = append(commands, command)
			continue
		}
		switch {
		case !block && line != "":
			command = ""
		case block && command != "" && strings.TrimSpace(text) != "" && strings.TrimSpace(text) != "...":
			lines[command] = append(lines[command], text)
		}
	}
	return commands, lines
}

// docs/first-run.md shows what somebody sees who types its commands: each of its lines is
// on the screen, in that order, but for numbers.
func TestThePageIsWhatPeopleSee(t *testing.T) {
	page, err := os.ReadFile("../../docs/first-run.md")
	if err != nil {
		t.Fatal(err)
	}
	steps, err := Run(t.Context(), "../../bin", 80)
	if err != nil {
		t.Fatal(err)
	}
	commands, lines := transcripts(string(page))
	for _, s := range steps {
		i := slices.IndexFunc(commands, func(c string) bool {
			return masked(c) == s.Command ||
				strings.HasPrefix(c, s.Command+" castai-")
		})
		if i < 0 || len(lines[commands[i]]) == 0 {
			t.Errorf("docs/first-run.md does not show %q", s.Command)
			continue
		}
		screen := strings.Split(s.Screen.Text(), "\n")
		for _, line := range lines[commands[i]] {
			n := slices.IndexFunc(screen, func(l string) bool { return masked(l) == masked(line) })
			if n < 0 {
				t.Errorf("%s: %q is not on the screen, or not there:\n%s", s.Command, line, s.Screen.Text())
				break
			}
			screen = screen[n+1:]
		}
	}
}

package hibernate

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// documented fails the test unless docs/hibernate.md has a table, between comments of
// its name.
func documented(t *testing.T, name, table string) {
	t.Helper()
	content, err := os.ReadFile("../../docs/hibernate.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(content), "<!-- "+name+" -->\n")
	there, _, ended := strings.Cut(rest, "<!-- /"+name+" -->")
	if !found || !ended || there != table {
		t.Errorf("docs/hibernate.md does not have this between the comments %s and /%[1]s:\n%s", name, table)
	}
}

// What is said of schedules in the documentation is what install says of them.
func TestSchedulesOfTheDocumentation(t *testing.T) {
	var b strings.Builder
	b.WriteString("| Pause | Resume | `install` says |\n|---|---|---|\n")
	now := time.Date(2026, 10, 14, 12, 0, 0, 0, time.UTC)
	for _, s := range []Schedule{
		{DefaultPause, DefaultResume, "Europe/Vilnius"},
		{"0 20 * * 5", "0 6 * * 1", "America/New_York"},
		{"0 19 * * *", "0 8 * * 1-5", "Asia/Kolkata"},
		{"0 22 * * *", "0 7 2 1 *", "Etc/UTC"},
		{"0 7 * * 1-5", "0 22 * * 1-5", "Etc/UTC"},
	} {
		f, err := s.Forecast(now)
		if err != nil {
			t.Fatal(err)
		}
		says := f.String()
		if refused := f.accept(nil); refused != nil {
			_, option, _ := strings.Cut(refused.Error(), "pass ")
			says += "; refuses without `" + option + "`"
		}
		fmt.Fprintf(&b, "| `%s` %s | `%s` | %s |\n", s.Pause, s.TimeZone, s.Resume, says)
	}
	documented(t, "schedules", b.String())
}

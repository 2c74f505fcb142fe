package printer

import (
	"strings"
	"testing"
)

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"castai-agent":         "castai-agent",
		"größe 大きさ":            "größe 大きさ",
		"red \x1b[31malert":    `red \x1b[31malert`,
		"two\nlines\r\t":       `two\nlines\r\t`,
		"abc\u202edef":         `abc\u202edef`,
		"zero\u200bwidth":      `zero\u200bwidth`,
		"bad \xff byte":        `bad \ufffd byte`,
		"c1 control \u009b31m": `c1 control \u009b31m`,
	} {
		if got := Escape(in); got != want {
			t.Errorf("Escape(%q) = %q, not %q", in, got, want)
		}
	}
}

// Nothing that acts on a terminal gets through, and what is safe stays.
func FuzzEscape(f *testing.F) {
	for _, s := range []string{"castai", "\x1b]0;title\a", "\u202eabc", "\xff\xfe", "a\\nb", "\u2028", "😀\u200d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Escape(s)
		if strings.ContainsFunc(got, unsafeRune) {
			t.Errorf("Escape(%q) = %q", s, got)
		}
		if again := Escape(got); again != got {
			t.Errorf("escaped twice, %q is %q", got, again)
		}
	})
}

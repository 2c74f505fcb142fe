package printer

import "testing"

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

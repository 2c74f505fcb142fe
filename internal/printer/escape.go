// Package printer shows documents and events: as text on a terminal, as plain
// lines, as JSON or YAML. It is the only package that writes to the user, and
// escapes what comes from a cluster.
package printer

import (
	"strconv"
	"strings"
	"unicode"
)

// Escape makes text from a cluster or an API safe to show: control characters,
// escape sequences and marks that change the direction of writing appear as Go
// escapes instead of acting on the terminal.
func Escape(s string) string {
	if !strings.ContainsFunc(s, unsafeRune) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unsafeRune(r) {
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// unsafeRune tells whether a rune acts on a terminal instead of being shown:
// controls, invalid UTF-8, and format characters such as U+202E.
func unsafeRune(r rune) bool {
	return unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.Is(unicode.Cf, r) || r == '\u2028' ||
		r == '\u2029'
}

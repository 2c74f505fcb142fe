package printer

import (
	"io"
	"os"
	"strings"
	"sync/atomic"

	"golang.org/x/term"
)

// ColorMode says when to use colours.
type ColorMode string

// The modes, as in ls and grep.
const (
	ColorAuto   ColorMode = "auto" // on a terminal, unless NO_COLOR is set (no-color.org) or TERM is dumb
	ColorAlways ColorMode = "always"
	ColorNever  ColorMode = "never"
)

// ColorModes are the values of --color.
func ColorModes() []string {
	return []string{string(ColorAuto), string(ColorAlways), string(ColorNever)}
}

// Terminal is a stream to the user, with what it can show.
type Terminal struct {
	w io.Writer
	// Color: text may be coloured.
	Color bool
	// Live: lines may be drawn over.
	Live bool
	// Quiet: progress is not shown.
	Quiet bool

	live atomic.Pointer[live] // what is drawn over, nil if nothing ever was
}

// NewTerminal finds out what a stream can show. Only a terminal can be drawn
// over; colours are a matter of taste, too.
func NewTerminal(w io.Writer, mode ColorMode) *Terminal {
	if t, ok := w.(*Terminal); ok {
		return t
	}
	t := &Terminal{w: w}
	f, ok := w.(*os.File)
	if ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		t.Live = interpretsSequences(f)
	}
	t.Color = mode == ColorAlways || mode == ColorAuto && t.Live && os.Getenv("NO_COLOR") == ""
	return t
}

// Write writes to the stream, above what is drawn over.
func (t *Terminal) Write(p []byte) (int, error) {
	if l := t.live.Load(); l != nil {
		return l.Write(p)
	}
	return t.w.Write(p)
}

// Width returns the columns of the terminal, 0 if it is none.
func (t *Terminal) Width() int {
	if f, ok := t.w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			return width
		}
	}
	return 0
}

// A style is what a terminal is told to show text in (ECMA-48, SGR).
type style string

const (
	bold   style = "1"
	faint  style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
)

// paint shows text in styles. Whatever is in the text must be escaped before.
func (t *Terminal) paint(text string, styles ...style) string {
	if !t.Color || text == "" {
		return text
	}
	codes := make([]string, len(styles))
	for i, s := range styles {
		codes[i] = string(s)
	}
	return "\x1b[" + strings.Join(codes, ";") + "m" + text + "\x1b[m"
}

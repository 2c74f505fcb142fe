package terminal

import (
	"fmt"
	"html"
	"strings"

	"github.com/hinshun/vt10x"
)

// Sizes of a picture, in pixels.
const (
	cellWidth  = 8.4 // of a monospaced font of 14 pixels
	cellHeight = 18
	margin     = 16
)

// bold is vt10x's bit for it, which the package does not export.
const bold = 1 << 2

// look is what a picture is coloured with: for light screens, and for dark ones.
const look = `<style>
rect { fill: #ffffff; stroke: #d0d7de }
text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #1f2328; white-space: pre }
.bold { font-weight: bold } .red { fill: #cf222e } .green { fill: #1a7f37 }
@media (prefers-color-scheme: dark) {
rect { fill: #0d1117; stroke: #30363d }
text { fill: #e6edf3 } .red { fill: #ff7b72 } .green { fill: #3fb950 }
}
</style>`

// SVG draws what the screen shows, down to its last line.
func (s *Screen) SVG() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	columns, _ := s.emulator.Size()
	rows := strings.Count(s.text(), "\n")
	width, height := int(float64(columns)*cellWidth)+2*margin, rows*cellHeight+2*margin
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">`+"\n%s\n",
		width, height, width, height, look)
	fmt.Fprintf(&out, `<rect x="0.5" y="0.5" width="%d" height="%d" rx="8"/>`+"\n", width-1, height-1)
	for y := range rows {
		for x := 0; x < columns; {
			class, text := style(s.emulator.Cell(x, y)), ""
			start := x
			for ; x < columns && style(s.emulator.Cell(x, y)) == class; x++ {
				text += string(s.emulator.Cell(x, y).Char)
			}
			text = strings.ReplaceAll(text, "\x00", " ")
			if strings.TrimSpace(text) == "" {
				continue
			}
			text = strings.TrimRight(text, " ")
			fmt.Fprintf(&out, `<text xml:space="preserve" x="%.1f" y="%d" textLength="%.1f" class="%s">%s</text>`+"\n",
				margin+float64(start)*cellWidth,
				margin+y*cellHeight+cellHeight-4, float64(len([]rune(text)))*cellWidth, class, html.EscapeString(text))
		}
	}
	out.WriteString("</svg>\n")
	return []byte(out.String())
}

// style is the class of a cell in a picture.
func style(cell vt10x.Glyph) string {
	var classes []string
	if cell.Mode&bold != 0 {
		classes = append(classes, "bold")
	}
	switch cell.FG {
	case vt10x.Red, vt10x.LightRed:
		classes = append(classes, "red")
	case vt10x.Green, vt10x.LightGreen:
		classes = append(classes, "green")
	}
	return strings.Join(classes, " ")
}

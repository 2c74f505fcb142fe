package terminal

import (
	"encoding/xml"
	"fmt"
	"strings"
	"testing"
)

func TestSVG(t *testing.T) {
	screen, device := open(t, 40)
	if _, err := fmt.Fprint(device,
		"plain \x1b[1mbold\x1b[m\r\n\x1b[31m<red>\x1b[m & \x1b[32mgreen\x1b[m\r\n"); err != nil {
		t.Fatal(err)
	}
	shown(t, screen, device)
	picture := string(screen.SVG())
	if err := xml.Unmarshal([]byte(picture), new(struct{})); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`class="">plain<`, `class="bold">bold<`, `class="red">&lt;red&gt;<`, `> &amp;<`,
		`class="green">green<`, `prefers-color-scheme: dark`} {
		if !strings.Contains(picture, want) {
			t.Errorf("no %s in\n%s", want, picture)
		}
	}
}

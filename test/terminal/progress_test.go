package terminal

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

var update = flag.Bool("update", false, "write the golden files")

const wait = 20 * time.Second

// script is a run: a short phase, and a long one with all that may happen. It
// calls look in the middle of the long one.
func script(look func(name string)) []func(func(engine.Event)) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	target := func(kind, namespace, name string) cluster.Target {
		return cluster.Target{Ref: cluster.Ref{Kind: kind, Namespace: namespace, Name: name}}
	}
	webhooks := &engine.Phase{Name: "webhooks", Title: "Remove webhooks and API services",
		Actions: make([]engine.Action, 1)}
	homes := &engine.Phase{Name: "namespaces", Title: "Remove namespaces and what is in them", Timeout: 15 * time.Minute,
		Actions: make([]engine.Action, 4)}
	webhook := target("MutatingWebhookConfiguration", "", "castai-pod-mutator")
	secret := target("Secret", "castai-agent", "castai-agent-\x1b[31mred")
	wide := target("ConfigMap", "castai-agent",
		"設定と環境設定と環境設定と環境設定と環境設定と環境設定と環境")
	home := target("Namespace", "", "castai-agent")
	return []func(func(engine.Event)){
		func(emit func(engine.Event)) {
			emit(engine.Event{Type: engine.PhaseStarted, Time: at(0), Phase: webhooks, Total: 1})
			emit(engine.Event{Type: engine.Requested, Time: at(0.1), Phase: webhooks, Target: webhook, Total: 1})
			emit(engine.Event{Type: engine.Done, Time: at(0.2), Phase: webhooks, Target: webhook, Done: 1, Total: 1})
			emit(engine.Event{Type: engine.PhaseEnded, Time: at(0.2), Phase: webhooks, Done: 1, Total: 1})
		},
		func(emit func(engine.Event)) {
			emit(engine.Event{Type: engine.PhaseStarted, Time: at(1), Phase: homes, Total: 4})
			emit(engine.Event{Type: engine.Requested, Time: at(1), Phase: homes, Target: home, Total: 4})
			emit(engine.Event{Type: engine.Requested, Time: at(1), Phase: homes, Target: wide, Total: 4})
			emit(engine.Event{Type: engine.Failed, Time: at(2), Phase: homes, Target: secret, Message: "the server refused it",
				Total: 4})
			look("what was done last")
			emit(engine.Event{Type: engine.Waiting, Time: at(4), Phase: homes, Target: home,
				Message: "2 pods are left, which no kubelet confirms", Done: 1, Total: 4})
			emit(engine.Event{Type: engine.StepStarted, Time: at(10), Phase: homes,
				Message: "It does not go by itself: finalizers are removed", Done: 1, Total: 4})
			look("what is waited for")
			emit(engine.Event{Type: engine.Done, Time: at(70), Phase: homes, Target: home, Done: 3, Total: 4})
			emit(engine.Event{Type: engine.Left, Time: at(71), Phase: homes, Target: wide, Done: 3, Total: 4})
			emit(engine.Event{Type: engine.PhaseEnded, Time: at(73), Phase: homes, Done: 3, Total: 4})
		},
	}
}

func play(emit func(engine.Event), look func(name string)) {
	for _, phase := range script(look) {
		phase(emit)
	}
}

// open returns a screen whose size, but not whose mood, is that of the test.
func open(t *testing.T, columns int) (*Screen, *os.File) {
	t.Helper()
	t.Setenv("TERM", "xterm-256color")
	t.Setenv("NO_COLOR", "")
	screen, device, err := Open(columns, 40)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = device.Close() })
	return screen, device
}

func shown(t *testing.T, screen *Screen, device *os.File) string {
	t.Helper()
	if err := screen.Sync(device, wait); err != nil {
		t.Fatal(err)
	}
	return screen.Text()
}

func TestProgress(t *testing.T) {
	for _, columns := range []int{40, 80, 160} {
		t.Run(fmt.Sprint(columns), func(t *testing.T) {
			screen, device := open(t, columns)
			var got strings.Builder
			look := func(name string) {
				fmt.Fprintf(&got, "-- %s --\n%s", name, shown(t, screen, device))
			}
			play(printer.NewProgress(device, false).Event, look)
			look("in the end")
			golden := filepath.Join("testdata", fmt.Sprintf("progress-%d.txt", columns))
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) {
				t.Errorf("the screen shows\n%s\nand %s has\n%s", got.String(), golden, want)
			}
		})
	}
}

// plain is what a file gets.
func plain(t *testing.T) string {
	t.Helper()
	var out bytes.Buffer
	play(printer.NewProgress(&out, false).Event, func(string) {})
	return out.String()
}

// Without a terminal there are lines, with nothing in them that acts on one.
func TestPlainLines(t *testing.T) {
	if got := plain(t); strings.ContainsAny(got, "\x1b\r") || strings.Count(got, "\n") != 7 {
		t.Errorf("got %q", got)
	}
}

// On a terminal, once a run is over, there is what a file gets: nothing of what
// was drawn over is left.
func TestNothingIsLeft(t *testing.T) {
	screen, device := open(t, 160)
	play(printer.NewProgress(device, false).Event, func(string) {})
	if got, want := shown(t, screen, device), plain(t); got != want {
		t.Errorf("the screen shows\n%s\nand a file gets\n%s", got, want)
	}
}

func TestMoods(t *testing.T) {
	for name, tc := range map[string]struct {
		set          func(t *testing.T)
		terminal     func(*printer.Terminal)
		mode         printer.ColorMode
		color, moves bool
	}{
		"as it is":    {func(*testing.T) {}, nil, printer.ColorAuto, true, true},
		"NO_COLOR":    {func(t *testing.T) { t.Setenv("NO_COLOR", "1") }, nil, printer.ColorAuto, false, true},
		"never":       {func(*testing.T) {}, nil, printer.ColorNever, false, true},
		"a dumb one":  {func(t *testing.T) { t.Setenv("TERM", "dumb") }, nil, printer.ColorAuto, false, false},
		"though dumb": {func(t *testing.T) { t.Setenv("TERM", "dumb") }, nil, printer.ColorAlways, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			screen, device := open(t, 80)
			tc.set(t)
			play(printer.NewProgress(printer.NewTerminal(device, tc.mode), false).Event, func(string) {})
			shown(t, screen, device)
			raw := screen.Raw()
			if color := strings.Contains(raw, "\x1b[31m"); color != tc.color {
				t.Errorf("colours: %v in %q", color, raw)
			}
			if moves := strings.Contains(raw, "\x1b[J") || strings.Contains(raw, "\x1b[A"); moves != tc.moves {
				t.Errorf("drawn over: %v in %q", moves, raw)
			}
		})
	}
}

// What others have to say in the middle of a phase is a line of its own.
func TestInBetween(t *testing.T) {
	screen, device := open(t, 160)
	terminal := printer.NewTerminal(device, printer.ColorAuto)
	const said = "The API server does not answer"
	play(printer.NewProgress(terminal, false).Event, func(string) {
		if _, err := fmt.Fprintln(terminal, said); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := fmt.Fprintln(terminal, said); err != nil {
		t.Fatal(err)
	}
	text := shown(t, screen, device)
	if n := strings.Count(text, "\n"+said+"\n"); n != 3 || strings.Count(text, "\n") != strings.Count(plain(t), "\n")+3 {
		t.Errorf("it is there %d times in\n%s", n, text)
	}
}

func TestQuiet(t *testing.T) {
	screen, device := open(t, 80)
	quiet := printer.NewTerminal(device, printer.ColorAuto)
	quiet.Quiet = true
	play(printer.NewProgress(quiet, false).Event, func(string) {})
	if text := strings.TrimSpace(shown(t, screen, device)); text != "" {
		t.Errorf("the screen shows %s", text)
	}
}

// Whoever pulls at the corner of the window loses none of the lines that stay.
func TestResize(t *testing.T) {
	screen, device := open(t, 160)
	widths := []int{60, 120}
	play(printer.NewProgress(device, false).Event, func(string) {
		shown(t, screen, device)
		if err := screen.Resize(widths[0], 40); err != nil {
			t.Fatal(err)
		}
		widths = widths[1:]
	})
	text := shown(t, screen, device)
	for line := range strings.Lines(plain(t)) {
		if short := strings.TrimSpace(line); len(short) < 55 &&
			!strings.Contains("\n"+text, "\n"+strings.TrimRight(line, "\n")+"\n") {
			t.Errorf("the line %q is not on the screen:\n%s", line, text)
		}
	}
}

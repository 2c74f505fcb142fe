// Package terminal is a terminal for tests and pictures: a pseudo-terminal, and
// what it would show.
package terminal

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"
)

// Screen is a terminal of some size.
type Screen struct {
	keyboard *os.File
	emulator vt10x.Terminal

	mu      sync.Mutex
	raw     strings.Builder
	changed chan struct{} // closed, and replaced, when something was shown
	closed  bool
}

// Open returns a screen and its device, to which programs write. Closing the
// device closes the screen.
func Open(columns, rows int) (*Screen, *os.File, error) {
	keyboard, device, err := pty.Open()
	if err != nil {
		return nil, nil, err
	}
	if err := pty.Setsize(device, size(columns, rows)); err != nil {
		return nil, nil, err
	}
	return show(keyboard, columns, rows), device, nil
}

// Start runs a command on a screen, which shows some lines before.
func Start(cmd *exec.Cmd, columns, rows int, before ...string) (*Screen, error) {
	keyboard, err := pty.StartWithSize(cmd, size(columns, rows))
	if err != nil {
		return nil, err
	}
	return show(keyboard, columns, rows, before...), nil
}

func size(columns, rows int) *pty.Winsize {
	return &pty.Winsize{Cols: uint16(columns), Rows: uint16(rows)} //nolint:gosec // of a screen
}

func show(keyboard *os.File, columns, rows int, before ...string) *Screen {
	s := &Screen{keyboard: keyboard, emulator: vt10x.New(vt10x.WithSize(columns, rows)), changed: make(chan struct{})}
	for _, line := range before {
		_, _ = s.emulator.Write([]byte(line + "\r\n")) // it only ever fails for its own writer
	}
	go s.read()
	return s
}

func (s *Screen) read() {
	buffer := make([]byte, 1<<16)
	for {
		n, err := s.keyboard.Read(buffer)
		s.mu.Lock()
		s.raw.Write(buffer[:n])
		_, writeErr := s.emulator.Write(buffer[:n])
		s.closed = err != nil || writeErr != nil // Linux reports an I/O error when the device is closed
		close(s.changed)
		s.changed = make(chan struct{})
		closed := s.closed
		s.mu.Unlock()
		if closed {
			_ = s.keyboard.Close()
			return
		}
	}
}

// Type types on the keyboard.
func (s *Screen) Type(keys string) error {
	_, err := s.keyboard.WriteString(keys)
	return err
}

// Resize changes the size, as pulling at the corner of a window does.
func (s *Screen) Resize(columns, rows int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.emulator.Resize(columns, rows)
	return pty.Setsize(s.keyboard, size(columns, rows))
}

// Raw is everything that was ever written to the screen.
func (s *Screen) Raw() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.raw.String()
}

// Text is what the screen shows, without the space at the ends of lines and
// below the last one.
func (s *Screen) Text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text()
}

func (s *Screen) text() string {
	lines := strings.Split(s.emulator.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n") + "\n"
}

// Until waits until the screen shows a text.
func (s *Screen) Until(text string, timeout time.Duration) error {
	return s.wait(timeout, "show "+text, func() bool { return strings.Contains(s.text(), text) })
}

// Ended waits until the last program has closed the device.
func (s *Screen) Ended(timeout time.Duration) error {
	return s.wait(timeout, "end", func() bool { return s.closed })
}

// Sync waits until the screen has seen all that was written to its device.
func (s *Screen) Sync(device *os.File, timeout time.Duration) error {
	title := fmt.Sprint(time.Now().UnixNano())
	if _, err := fmt.Fprintf(device, "\x1b]0;%s\a", title); err != nil {
		return err
	}
	return s.wait(timeout, "take a title", func() bool { return s.emulator.Title() == title })
}

func (s *Screen) wait(timeout time.Duration, what string, done func() bool) error {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		s.mu.Lock()
		ok, closed, changed, text := done(), s.closed, s.changed, s.text()
		s.mu.Unlock()
		switch {
		case ok:
			return nil
		case closed:
			return fmt.Errorf("the screen was closed and did not %s, but:\n%s", what, text)
		}
		select {
		case <-changed:
		case <-timer.C:
			return fmt.Errorf("the screen did not %s in %s, but:\n%s", what, timeout, text)
		}
	}
}

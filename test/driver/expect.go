package driver

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/creack/pty"

	"github.com/castai/kubectl-castai/test/schema"
)

// Expect runs kubectl castai and expects it to end with code.
func (u *User) Expect(t testing.TB, code int, args ...string) Result {
	t.Helper()
	r := u.Try(t, args...)
	if r.Code != code {
		t.Fatalf("kubectl castai %s: want exit code %d, got %s", strings.Join(args, " "), code, r)
	}
	return r
}

// Try runs kubectl castai, however it ends.
func (u *User) Try(t testing.TB, args ...string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), u.timeout)
	defer cancel()
	r, err := u.Castai(ctx, args...)
	if err != nil {
		t.Fatalf("kubectl castai %s: %v", strings.Join(args, " "), err)
	}
	return r
}

// Document reads what a command printed with -o json, and checks it against the
// published schema.
func (r Result) Document(t testing.TB, into any) {
	t.Helper()
	if err := schema.Validate([]byte(r.Stdout)); err != nil {
		t.Errorf("the document does not fit its schema: %v", err)
	}
	if err := json.Unmarshal([]byte(r.Stdout), into); err != nil {
		t.Fatalf("%v in: %s", err, r)
	}
}

// Follow runs kubectl castai and calls each with every line of its messages as it
// comes, and with the process. The exit code is -1 if a signal has ended it.
func (u *User) Follow(t testing.TB, each func(p *os.Process, line string), args ...string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), u.timeout)
	defer cancel()
	cmd := u.Command(ctx, args...)
	var stdout, stderr strings.Builder
	cmd.Stdout = &stdout
	messages, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(messages)
	for lines.Scan() {
		stderr.WriteString(lines.Text() + "\n")
		each(cmd.Process, lines.Text())
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return Result{Code: cmd.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}
}

// FollowTo runs kubectl castai and sends it a signal at the first line of its
// messages that is the one, after which is is not called again.
func (u *User) FollowTo(t testing.TB, is func(line string) bool, signal os.Signal, args ...string) Result {
	t.Helper()
	sent := false
	return u.Follow(t, func(p *os.Process, line string) {
		if sent || !is(line) {
			return
		}
		sent = true
		if err := p.Signal(signal); err != nil {
			t.Fatal(err)
		}
	}, args...)
}

// Typed runs kubectl castai on a terminal, answers its questions, expects it to
// end with code, and returns what the terminal showed.
func (u *User) Typed(t testing.TB, code int, answers []string, args ...string) string {
	t.Helper()
	return u.Asked(t, code, func() (string, bool) {
		if len(answers) == 0 {
			return "", false
		}
		answer := answers[0]
		answers = answers[1:]
		return answer, true
	}, args...)
}

// Asked is Typed with answers that are made when their questions are asked; false
// leaves one unanswered.
func (u *User) Asked(t testing.TB, code int, answer func() (string, bool), args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), u.timeout)
	defer cancel()
	cmd := u.Command(ctx, args...)
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 50, Cols: 240})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = terminal.Close() }()
	var screen strings.Builder
	buffer := make([]byte, 4096)
	for {
		n, err := terminal.Read(buffer)
		screen.Write(buffer[:n])
		if strings.HasSuffix(screen.String(), "to go on: ") {
			if text, ok := answer(); ok {
				if _, err := io.WriteString(terminal, text+"\n"); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err != nil {
			break // Linux reports an I/O error when the other side is closed
		}
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != code {
		t.Fatalf("kubectl castai %s: want exit code %d, got %v; the terminal shows:\n%s", strings.Join(args, " "), code, err,
			screen.String())
	}
	return screen.String()
}

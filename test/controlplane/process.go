package controlplane

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is one component. It is either a child of this process, or, after
// Open, one that an earlier process left running.
type process struct {
	Name string   `json:"name"`
	PID  int      `json:"pid"`
	Args []string `json:"args"` // with the program
	Log  string   `json:"log"`
	// Born tells this process from a later one with its number: when it started.
	Born string `json:"born"`

	logStart int64
	handle   *os.Process
	done     chan struct{} // closed when a child has ended; nil after Open
	err      error         // how it ended, valid once done is closed
}

// startProcess starts a component that writes to its own log file. Unless it
// is to be detached, it dies with the process that started it.
func startProcess(name string, args, env []string, log string, detach bool) (*process, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}

	cmd := exec.Command(args[0], args[1:]...) //nolint:gosec // binaries of this package
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = childAttr(detach)

	p := &process{Name: name, Args: args, Log: log, logStart: info.Size(), done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// Linux sends the parent-death signal when the thread that started the
		// child ends, not the process. Waiting here keeps the thread.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.handle, p.PID = cmd.Process, cmd.Process.Pid
	p.Born = born(p.PID)
	return p, nil
}

// running reports whether the process is there and still the one that was
// started, not another one that got its number.
func (p *process) running() bool {
	if p.done != nil {
		select {
		case <-p.done:
			return false
		default:
			return true
		}
	}
	return p.Born != "" && born(p.PID) == p.Born
}

// died returns an error with the end of the log if the process has ended.
func (p *process) died() error {
	if p.running() {
		return nil
	}
	reason := "it is gone"
	if p.done != nil && p.err != nil {
		reason = p.err.Error()
	}
	return fmt.Errorf("%s has stopped: %s; the end of %s:\n%s", p.Name, reason, p.Log, p.tail())
}

// tail returns the last lines that the process logged since it was started.
func (p *process) tail() string { return tail(p.Log, p.logStart, 4000) }

// portTaken reports whether the process ended because somebody else had its port.
func (p *process) portTaken() bool {
	return !p.running() && strings.Contains(tail(p.Log, p.logStart, 1<<20), "address already in use")
}

// stop ends the process: with a signal first, by force after the grace period.
// It returns when the process is gone.
func (p *process) stop(grace time.Duration) error {
	handle := p.handle
	if handle == nil {
		found, err := os.FindProcess(p.PID)
		if err != nil {
			return fmt.Errorf("stop %s: %w", p.Name, err)
		}
		defer func() { _ = found.Release() }()
		handle = found
	}
	// Checked after the handle was opened, so that it belongs to what was checked.
	if !p.running() {
		return nil
	}
	if grace > 0 {
		if err := p.signal(handle, syscall.SIGTERM); err != nil {
			return err
		}
		if p.waitGone(grace) {
			return nil
		}
	}
	if err := p.signal(handle, syscall.SIGKILL); err != nil {
		return err
	}
	if !p.waitGone(10 * time.Second) {
		return fmt.Errorf("stop %s: process %d does not end", p.Name, p.PID)
	}
	return nil
}

// signal reaches the process and what it started: a program may be a wrapper
// around the real one.
func (p *process) signal(handle *os.Process, sig syscall.Signal) error {
	err := signalGroup(p.PID, sig)
	if errors.Is(err, syscall.ESRCH) { // it leads no group
		err = handle.Signal(sig)
	}
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s (%s, process %d): %w", p.Name, sig, p.PID, err)
	}
	return nil
}

// waitGone reports whether the process ends in time. There is no context: cleaning
// up must not be cut short.
func (p *process) waitGone(timeout time.Duration) bool {
	return poll(time.After(timeout), func() bool { return !p.running() })
}

// born returns when a process started, in the system's own words, or nothing if
// there is no such process. On Linux that is field 22 of /proc/PID/stat (proc(5)).
func born(pid int) string {
	if raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err == nil {
		// The second field is the program's name, which may hold anything.
		fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
		if len(fields) < 20 || fields[0] == "Z" {
			return ""
		}
		return fields[19]
	}
	if _, err := os.Stat("/proc/self"); err == nil {
		return ""
	}
	out, err := exec.Command("ps", "-o", "lstart=", "-p", strconv.Itoa(pid)).Output() //nolint:gosec // a number
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// poll calls done until it returns true, with growing intervals between 10 ms and
// half a second. It returns false if something arrives on end before that.
func poll[T any](end <-chan T, done func() bool) bool {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for wait := 10 * time.Millisecond; ; wait = min(wait*3/2, 500*time.Millisecond) {
		if done() {
			return true
		}
		timer.Reset(wait)
		select {
		case <-end:
			return false
		case <-timer.C:
		}
	}
}

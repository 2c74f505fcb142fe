// Command measured runs a command and says what it used. It is a program of its
// own because the peak of a process's memory counts that of the process that
// started it (the kernel's exec_mmap keeps the larger one): this one is small.
//
//	measured FILE LIMIT COMMAND [ARG...]
//
// writes into FILE, as JSON, what the command and its children used. After LIMIT
// (0s: never), or when it is interrupted itself, it ends the whole group of
// processes. The exit code is that of the command.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// usage is what the command used.
type usage struct {
	Seconds   float64 `json:"seconds"`
	CPU       float64 `json:"cpu"`       // user and system, seconds
	MemoryMiB float64 `json:"memoryMiB"` // peak of the largest process
	Unended   bool    `json:"unended"`   // it was ended at the limit
	Code      int     `json:"code"`
}

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "measured:", err)
		code = 1
	}
	os.Exit(code)
}

func run(args []string) (int, error) {
	if len(args) < 3 {
		return 0, errors.New("measured FILE LIMIT COMMAND [ARG...]")
	}
	limit, err := time.ParseDuration(args[1])
	if err != nil {
		return 0, err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	cmd := exec.Command(args[2], args[3:]...) //nolint:gosec // the purpose of this program
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var timer <-chan time.Time
	if limit > 0 {
		timer = time.After(limit)
	}
	u := usage{}
	select {
	case err = <-ended:
	case <-timer:
		u.Unended = true
		err = kill(cmd, ended)
	case <-stop:
		err = kill(cmd, ended)
	}
	u.Seconds = time.Since(start).Seconds()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	u.Code = cmd.ProcessState.ExitCode()
	u.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.MemoryMiB = float64(r.Maxrss) / (1 << 20)
		if runtime.GOOS == "linux" {
			u.MemoryMiB *= 1 << 10 // it counts in KiB
		}
	}
	content, err := json.Marshal(u)
	if err != nil {
		return 0, err
	}
	return u.Code, os.WriteFile(args[0], content, 0o600)
}

// kill ends the command with all that it started.
func kill(cmd *exec.Cmd, ended <-chan error) error {
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
		return err
	}
	return <-ended
}

// Command measured runs a command and says what it used. It is a program of its
// own because the peak of a process's memory counts that of the process that
// started it (the kernel's exec_mmap keeps the larger one): this one is small.
//
//	measured FILE COMMAND [ARG...]
//
// writes into FILE, as JSON, what the command and its children used. When it is
// interrupted itself, it ends the whole group of processes. The exit code is that
// of the command.
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
	if len(args) < 2 {
		return 0, errors.New("measured FILE COMMAND [ARG...]")
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	cmd := exec.Command(args[1], args[2:]...) //nolint:gosec // the purpose of this program
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var err error
	select {
	case err = <-ended:
	case <-stop:
		err = kill(cmd, ended)
	}
	u := usage{}
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
	return u.Code, os.WriteFile(args[0], content, 0o600) //nolint:gosec // the caller says where
}

// kill ends the command with all that it started.
func kill(cmd *exec.Cmd, ended <-chan error) error {
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
		return err
	}
	return <-ended
}

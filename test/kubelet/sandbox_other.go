//go:build !linux

package kubelet

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// serve runs calls: there are no namespaces to enter.
func (s *sandbox) serve(_, _ string, _ bool, started chan<- error) {
	runtime.LockOSThread()
	started <- nil
	s.answer()
}

// command returns a process of the pod, to be started by the sandbox.
func (s *sandbox) command(_, path string, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command(path, args...) //nolint:gosec // the purpose of this package
	cmd.SysProcAttr, cmd.Dir = &syscall.SysProcAttr{Setpgid: true}, s.root
	return cmd, nil
}

// kill sends a signal to a process and, if it is SIGKILL, to all that it has started.
func kill(p *os.Process, signal syscall.Signal) error {
	if signal == syscall.SIGKILL {
		return syscall.Kill(-p.Pid, signal)
	}
	return p.Signal(signal)
}

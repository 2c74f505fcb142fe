package controlplane

import "syscall"

// childAttr keeps the child out of the terminal's process group, so that an
// interrupt leaves the order of shutting down to us. A child that is not to be
// detached is killed when its parent dies.
func childAttr(detach bool) *syscall.SysProcAttr {
	if detach {
		return &syscall.SysProcAttr{Setsid: true}
	}
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// signalGroup sends a signal to a process group.
func signalGroup(leader int, sig syscall.Signal) error { return syscall.Kill(-leader, sig) }

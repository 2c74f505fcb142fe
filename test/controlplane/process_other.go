//go:build unix && !linux

package controlplane

import "syscall"

// childAttr detaches the child from the terminal if wanted. Otherwise it stays
// in the process group, so that an interrupt ends it together with its parent.
func childAttr(detach bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: detach}
}

// signalGroup sends a signal to a process group.
func signalGroup(leader int, sig syscall.Signal) error { return syscall.Kill(-leader, sig) }

package kubelet

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// program is where a container finds the program of its image.
const program = "/program"

// serve runs calls on a thread that has entered the namespaces of the pod. The thread is never given back, so that it
// ends, and the namespaces with it, when the sandbox is closed; and the processes of the pod, whose parent it is.
func (s *sandbox) serve(hostname, ip string, share bool, started chan<- error) {
	runtime.LockOSThread()
	err := error(nil)
	if !share {
		err = unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWNS)
		s.isolated = err == nil
	}
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOSYS):
		err = nil // not root, or in a container: the pod shares the machine
	case s.isolated:
		err = furnish(hostname, ip)
	}
	started <- err
	if err != nil {
		return
	}
	s.answer()
}

// furnish gives fresh namespaces what they need.
func furnish(hostname, ip string) error {
	if err := unix.Sethostname([]byte(hostname)); err != nil {
		return fmt.Errorf("set the hostname: %w", err)
	}
	// What is mounted here must not be seen outside.
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("bring up the loopback interface: %w", err)
	}
	alias, err := unix.NewIfreq("lo:1")
	if err != nil {
		return err
	}
	if err := alias.SetInet4Addr(net.ParseIP(ip).To4()); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, alias); err != nil {
		return fmt.Errorf("add the address of the pod: %w", err)
	}
	return nil
}

// command returns a process of the pod, to be started by the sandbox.
func (s *sandbox) command(name, path string, args ...string) (*exec.Cmd, error) {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	dir := s.root
	if s.isolated {
		var err error
		if path, err = s.mount(name, path); err != nil {
			return nil, err
		}
		attr.Chroot, dir = s.root, "/"
	}
	cmd := exec.Command(path, args...) //nolint:gosec // the purpose of this package
	cmd.SysProcAttr, cmd.Dir = attr, dir
	return cmd, nil
}

// mount makes a program visible in the pod and returns its path there.
func (s *sandbox) mount(name, path string) (string, error) {
	inside := program + "-" + name
	target := filepath.Join(s.root, inside)
	if _, err := os.Stat(target); err == nil {
		return inside, nil
	}
	for from, to := range map[string]string{path: target, os.DevNull: filepath.Join(s.root, os.DevNull)} {
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return "", fmt.Errorf("mount %s: %w", from, err)
		}
		if err := os.WriteFile(to, nil, 0o700); err != nil { //nolint:gosec // a program
			return "", fmt.Errorf("mount %s: %w", from, err)
		}
		if err := s.do(func() error { return unix.Mount(from, to, "", unix.MS_BIND, "") }); err != nil {
			return "", fmt.Errorf("mount %s: %w", from, err)
		}
	}
	return inside, nil
}

// kill sends a signal to a process and, if it is SIGKILL, to all that it has started.
func kill(p *os.Process, signal syscall.Signal) error {
	if signal == syscall.SIGKILL {
		return syscall.Kill(-p.Pid, signal)
	}
	return p.Signal(signal)
}

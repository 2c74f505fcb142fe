package kubelet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// servicesAddress is that of the Service kubernetes.
const servicesAddress = "127.96.0.1"

// sandbox is what the containers of a pod share: a network, a hostname and files. Whatever depends on the network runs
// through do, on a thread of its own.
type sandbox struct {
	// root is the directory of the pod's files.
	root string
	// address is where a process of the pod listens.
	address string
	// isolated tells whether the pod has namespaces of its own.
	isolated bool

	calls chan func()
	done  chan struct{}
	open  sync.WaitGroup // connections
}

// newSandbox makes a sandbox. ip is the address that the pod has in the cluster, shared the one it has where it shares
// the machine's network.
func newSandbox(root, hostname, ip, shared string, share bool) (*sandbox, error) {
	s := &sandbox{root: root, calls: make(chan func()), done: make(chan struct{})}
	started := make(chan error, 1)
	go s.serve(hostname, ip, share, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("make a sandbox: %w", err)
	}
	s.address = shared
	if s.isolated {
		s.address = ip
	}
	for _, dir := range []string{"tmp", "etc", "var/run"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			return nil, fmt.Errorf("make the files of a pod: %w", err)
		}
	}
	hosts := fmt.Sprintf("127.0.0.1 localhost\n%s %s\n", ip, hostname)
	if err := os.WriteFile(filepath.Join(root, "etc", "hosts"), []byte(hosts), 0o600); err != nil {
		return nil, fmt.Errorf("make the files of a pod: %w", err)
	}
	return s, nil
}

// errClosed is for what comes after the end of a sandbox.
var errClosed = errors.New("the pod has ended")

// do runs f on the thread of the sandbox, unless the sandbox is closed.
func (s *sandbox) do(f func() error) error {
	result := make(chan error, 1)
	select {
	case s.calls <- func() { result <- f() }:
		return <-result
	case <-s.done:
		return errClosed
	}
}

// answer runs what do hands over, until the sandbox is closed.
func (s *sandbox) answer() {
	for {
		select {
		case call := <-s.calls:
			call()
		case <-s.done:
			return
		}
	}
}

// start starts a process in the sandbox.
func (s *sandbox) start(cmd *exec.Cmd) error { return s.do(cmd.Start) }

// dial connects to a port of the pod.
func (s *sandbox) dial(ctx context.Context, port string) (conn net.Conn, err error) {
	err = s.do(func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(s.address, port))
		return err
	})
	return conn, err
}

// forward lets the pod reach address, outside, as local.
func (s *sandbox) forward(local, address string) error {
	var l net.Listener
	err := s.do(func() (err error) {
		l, err = net.Listen("tcp", local)
		return err
	})
	if err != nil {
		return fmt.Errorf("listen in a pod: %w", err)
	}
	go func() {
		<-s.done
		_ = l.Close()
	}()
	go serveConnections(l, &s.open, func() (net.Conn, error) { return net.Dial("tcp", address) })
	return nil
}

// close ends the sandbox, in which no process runs any more.
func (s *sandbox) close() { close(s.done) }

// serveConnections connects everybody who connects to l with what dial returns, until l is closed.
func serveConnections(l net.Listener, open *sync.WaitGroup, dial func() (net.Conn, error)) {
	for {
		from, err := l.Accept()
		if err != nil {
			return
		}
		open.Go(func() {
			to, err := dial()
			if err != nil {
				_ = from.Close()
				return
			}
			join(from, to)
		})
	}
}

// join passes on what two connections say to each other, until one of them ends.
func join(a, b net.Conn) {
	over := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1])
			over <- struct{}{}
		}()
	}
	<-over
	_ = a.Close()
	_ = b.Close()
	<-over
}

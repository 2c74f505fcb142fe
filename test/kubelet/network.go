package kubelet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"github.com/castai/kubectl-castai/test/controlplane"
)

// Network is the network of a cluster's pods, and what kube-proxy is elsewhere: the address of a Service answers, on
// the loopback interface of this machine, while one of the pods behind it is ready. So the API server reaches webhooks
// and aggregated APIs.
type Network struct {
	cancel context.CancelFunc
	work   sync.WaitGroup
	block  int // of the loopback addresses of this network

	mu        sync.Mutex
	next      int
	pods      map[string]*sandbox
	listeners map[string]*listener
}

// address is where a pod is.
type address struct {
	ip     string // in the cluster
	shared string // on a machine that it shares
}

// listener is a port of a Service that somebody answers.
type listener struct {
	net.Listener
	mu       sync.Mutex
	backends []string // host:port
}

// NewNetwork starts the network of a cluster, until Stop.
func NewNetwork(ctx context.Context, cluster *controlplane.Cluster) (*Network, error) {
	client, err := clientOf(cluster, "system:kube-proxy")
	if err != nil {
		return nil, err
	}
	background, cancel := context.WithCancel(context.Background())
	n := &Network{
		cancel: cancel, block: 100 + rand.IntN(150), //nolint:gosec // not a secret
		pods: map[string]*sandbox{}, listeners: map[string]*listener{},
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	services, slices := factory.Core().V1().Services(), factory.Discovery().V1().EndpointSlices()
	changed := make(chan struct{}, 1)
	notify := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	for _, informer := range []cache.SharedIndexInformer{services.Informer(), slices.Informer()} {
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { notify() }, UpdateFunc: func(_, _ any) { notify() }, DeleteFunc: func(any) { notify() },
		})
		if err != nil {
			cancel()
			return nil, fmt.Errorf("watch Services: %w", err)
		}
	}
	factory.StartWithContext(background)
	if !cache.WaitForCacheSync(ctx.Done(), services.Informer().HasSynced, slices.Informer().HasSynced) {
		cancel()
		return nil, errors.New("watch Services: the API server does not answer")
	}
	n.work.Go(func() {
		for {
			select {
			case <-background.Done():
				n.listen(nil)
				factory.Shutdown()
				return
			case <-changed:
			}
			all, err := services.Lister().List(labels.Everything())
			behind, err2 := slices.Lister().List(labels.Everything())
			if err := errors.Join(err, err2); err != nil {
				slog.Warn("read Services", "error", err)
				continue
			}
			n.listen(n.wanted(all, behind))
		}
	})
	return n, nil
}

// Stop ends the network.
func (n *Network) Stop() {
	n.cancel()
	n.work.Wait()
}

// allocate returns a free address, and what gives it back.
func (n *Network) allocate() (address, func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next++
	high, low := n.next/250, n.next%250+1
	a := address{fmt.Sprintf("10.245.%d.%d", high, low), fmt.Sprintf("127.%d.%d.%d", n.block, high, low)}
	return a, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.pods, a.ip)
	}
}

// attach makes a pod reachable.
func (n *Network) attach(ip string, s *sandbox) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pods[ip] = s
}

// wanted returns the ready pods, as host:port, behind each address of a Service. Pods that nobody runs are left out.
func (n *Network) wanted(services []*corev1.Service, all []*discoveryv1.EndpointSlice) map[string][]string {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := map[string][]string{}
	for _, service := range services {
		if net.ParseIP(service.Spec.ClusterIP) == nil {
			continue
		}
		for _, port := range service.Spec.Ports {
			front := net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(int(port.Port)))
			for _, slice := range all {
				if slice.Namespace != service.Namespace || slice.Labels[discoveryv1.LabelServiceName] != service.Name {
					continue
				}
				for _, backend := range ready(slice, port.Name) {
					if host, _, _ := net.SplitHostPort(backend); n.pods[host] != nil {
						out[front] = append(out[front], backend)
					}
				}
			}
		}
	}
	return out
}

// ready returns the ready endpoints of a port, as host:port.
func ready(slice *discoveryv1.EndpointSlice, port string) []string {
	var out []string
	for _, p := range slice.Ports {
		if p.Name == nil || *p.Name != port || p.Port == nil {
			continue
		}
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready != nil && *e.Conditions.Ready {
				out = append(out, net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(*p.Port))))
			}
		}
	}
	return out
}

// listen lets exactly the wanted addresses answer.
func (n *Network) listen(wanted map[string][]string) {
	for front, l := range n.listeners {
		if len(wanted[front]) == 0 {
			_ = l.Close()
			delete(n.listeners, front)
		}
	}
	for _, front := range slices.Sorted(maps.Keys(wanted)) {
		l := n.listeners[front]
		if l == nil {
			socket, err := net.Listen("tcp", front)
			if err != nil {
				slog.Warn("a Service does not answer", "error", err)
				continue
			}
			l = &listener{Listener: socket}
			n.listeners[front] = l
			var open sync.WaitGroup
			go serveConnections(socket, &open, func() (net.Conn, error) { return n.dial(l) })
		}
		l.mu.Lock()
		l.backends = wanted[front]
		l.mu.Unlock()
	}
}

// dial connects to one of the pods behind a Service.
func (n *Network) dial(l *listener) (net.Conn, error) {
	l.mu.Lock()
	backend := l.backends[rand.IntN(len(l.backends))] //nolint:gosec // not a secret
	l.mu.Unlock()
	host, port, err := net.SplitHostPort(backend)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	s := n.pods[host]
	n.mu.Unlock()
	if s == nil {
		return nil, errClosed
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return s.dial(ctx, port)
}

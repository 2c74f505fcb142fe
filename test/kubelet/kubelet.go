// Package kubelet runs the containers of pods as processes of this machine, beside a control plane of package
// controlplane: a node whose controllers are alive.
//
//	network, err := kubelet.NewNetwork(ctx, cluster)
//	node, err := kubelet.Start(ctx, cluster, network, kubelet.Options{Name: "node", Images: images})
//	defer node.Stop()
//
// It does what a kubelet does for such pods: it registers a node of its own, with a Lease and heartbeats; a container
// of an image that it has a program for becomes a process, with the tokens, Secrets, ConfigMaps and variables of its
// pod; it probes, restarts with back-off, ends with SIGTERM, grace and SIGKILL, and then deletes the pod. A program of
// an image that is not known stays in ImagePullBackOff. What it can't do, exec probes, hooks of the lifecycle and most
// kinds of volumes, it says in an event.
//
// As root each pod has network, UTS and mount namespaces of its own and sees nothing but its own files. Without, a pod
// shares the machine: the variables PodAddress and PodRoot tell its program which address to listen on and where its
// files are, and KUBECONFIG how to reach the API server.
package kubelet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"
	"k8s.io/component-helpers/apimachinery/lease"
	"k8s.io/utils/clock"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/castai/kubectl-castai/test/controlplane"
)

const (
	// PodAddress is the variable that holds the address to listen on, where pods share the machine's network.
	PodAddress = "KUBELET_POD_ADDRESS"
	// PodRoot is the variable that holds the root directory of a pod, where pods share the machine's files.
	PodRoot = "KUBELET_POD_ROOT"
	// UserAgent begins the user agent of a kubelet, which is the manager of the fields that it writes.
	UserAgent = "kubelet"

	// The defaults of upstream's kubelet: nodeLeaseDurationSeconds and the interval of status updates.
	leaseSeconds   = 40
	renewInterval  = leaseSeconds * time.Second / 4
	statusInterval = 10 * time.Second
)

// Image is the program that stands for an image.
type Image struct {
	// Path is a program that is linked statically.
	Path string
	// Entrypoint are the arguments that come before those of the container.
	Entrypoint []string
}

// Options of a kubelet.
type Options struct {
	// Name is the node's.
	Name   string
	Labels map[string]string
	Taints []corev1.Taint
	// Images are the programs, by image without tag and digest.
	Images map[string]Image
	// Shared lets pods share the machine although they needn't.
	Shared bool
	// Backoff is the delay before the second restart of a container, which doubles with each one; by default
	// upstream's 10 s.
	Backoff time.Duration
	// Refresh is how often volumes follow their Secrets and ConfigMaps, by default 2 s. Upstream takes up to 90 s.
	Refresh time.Duration
}

// Kubelet is a node that runs.
type Kubelet struct {
	o       Options
	network *Network
	client  kubernetes.Interface
	cluster *controlplane.Cluster
	events  record.EventRecorder
	dir     string

	lost, ended       context.Context
	lose, end         context.CancelFunc
	background, works sync.WaitGroup
	shutEvents        func()

	mu   sync.Mutex
	pods map[types.UID]*pod
}

// Start registers a node and runs the pods that are bound to it, until Stop. It returns once the node is ready. The
// context bounds the start only.
func Start(ctx context.Context, cluster *controlplane.Cluster, network *Network, o Options) (*Kubelet, error) {
	if o.Backoff == 0 {
		o.Backoff = 10 * time.Second
	}
	if o.Refresh == 0 {
		o.Refresh = 2 * time.Second
	}
	client, err := clientOf(cluster, "system:node:"+o.Name, "system:nodes")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "kubelet-")
	if err != nil {
		return nil, fmt.Errorf("create the folder of the kubelet: %w", err)
	}
	k := &Kubelet{o: o, network: network, client: client, cluster: cluster, dir: dir, pods: map[types.UID]*pod{}}
	k.lost, k.lose = context.WithCancel(context.Background())
	k.ended, k.end = context.WithCancel(context.Background())
	broadcaster := record.NewBroadcaster()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	k.events = broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kubelet", Host: o.Name})
	k.shutEvents = broadcaster.Shutdown
	if err := k.register(ctx); err != nil {
		return nil, errors.Join(err, k.Stop())
	}
	k.background.Go(k.heartbeat)
	k.background.Go(k.renew)
	k.background.Go(k.watch)
	return k, nil
}

// clientOf returns a client of a user.
func clientOf(cluster *controlplane.Cluster, user string, groups ...string) (kubernetes.Interface, error) {
	path, err := cluster.User(user, groups...)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig of %s: %w", user, err)
	}
	config.QPS, config.UserAgent = -1, UserAgent+"/test"
	return kubernetes.NewForConfig(config)
}

// Lose cuts the node off from the API server: its heartbeats end, and its processes go on.
func (k *Kubelet) Lose() { k.lose() }

// Stop kills what runs on the node and ends the kubelet. The node and its pods stay in the cluster.
func (k *Kubelet) Stop() error {
	k.lose()
	k.background.Wait()
	k.end()
	k.works.Wait()
	k.shutEvents()
	if err := os.RemoveAll(k.dir); err != nil {
		return fmt.Errorf("remove the folder of the kubelet: %w", err)
	}
	return nil
}

// Pods returns how many pods the node has: those whose processes run, or end.
func (k *Kubelet) Pods() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.pods)
}

// Log returns what the containers of a pod have printed so far, also those of an earlier pod of the same name.
func (k *Kubelet) Log(namespace, pod string) string {
	files, err := filepath.Glob(filepath.Join(k.dir, "logs", namespace+"_"+pod+"_*"))
	if err != nil {
		return err.Error()
	}
	var all []byte
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err.Error()
		}
		all = append(all, content...)
	}
	return string(all)
}

// register creates the node, with its status.
func (k *Kubelet) register(ctx context.Context) error {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: k.o.Name, Labels: map[string]string{
			corev1.LabelHostname: k.o.Name, corev1.LabelOSStable: runtime.GOOS, corev1.LabelArchStable: runtime.GOARCH,
		}},
		Spec:   corev1.NodeSpec{Taints: k.o.Taints},
		Status: k.nodeStatus(),
	}
	maps.Copy(node.Labels, k.o.Labels)
	if _, err := k.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("register node %s: %w", k.o.Name, err)
	}
	return k.schedulable(ctx)
}

// schedulable waits until the controller manager has noticed that the node is ready.
func (k *Kubelet) schedulable(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		node, err := k.client.CoreV1().Nodes().Get(ctx, k.o.Name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("wait for node %s: %w", k.o.Name, err)
		}
		if !tainted(node, corev1.TaintNodeNotReady) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for node %s: %w", k.o.Name, ctx.Err())
		case <-tick.C:
		}
	}
}

func tainted(node *corev1.Node, key string) bool {
	for _, taint := range node.Spec.Taints {
		if taint.Key == key {
			return true
		}
	}
	return false
}

func (k *Kubelet) nodeStatus() corev1.NodeStatus {
	size := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("32"), corev1.ResourceMemory: resource.MustParse("256Gi"),
		corev1.ResourcePods: resource.MustParse("110"),
	}
	now := metav1.Now()
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason string) corev1.NodeCondition {
		return corev1.NodeCondition{Type: kind, Status: status, Reason: reason, LastHeartbeatTime: now,
			LastTransitionTime: now}
	}
	return corev1.NodeStatus{
		Capacity: size, Allocatable: size,
		Conditions: []corev1.NodeCondition{
			condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady"),
			condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory"),
			condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure"),
			condition(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID"),
		},
		Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}, {Type: corev1.NodeHostName, Address: k.o.Name},
		},
		NodeInfo: corev1.NodeSystemInfo{
			Architecture: runtime.GOARCH, OperatingSystem: runtime.GOOS, KubeletVersion: "processes",
			ContainerRuntimeVersion: "processes://1",
		},
	}
}

// heartbeat reports that the node is ready, until it is lost.
func (k *Kubelet) heartbeat() {
	tick := time.NewTicker(statusInterval)
	defer tick.Stop()
	for {
		select {
		case <-k.lost.Done():
			return
		case <-tick.C:
		}
		node, err := k.client.CoreV1().Nodes().Get(k.lost, k.o.Name, metav1.GetOptions{})
		if err == nil {
			conditions := k.nodeStatus().Conditions
			for i := range conditions {
				for _, old := range node.Status.Conditions {
					if old.Type == conditions[i].Type && old.Status == conditions[i].Status {
						conditions[i].LastTransitionTime = old.LastTransitionTime
					}
				}
			}
			node.Status.Conditions = conditions
			_, err = k.client.CoreV1().Nodes().UpdateStatus(k.lost, node, metav1.UpdateOptions{})
		}
		// The next heartbeat makes up for one that failed; a node that was deleted stays so.
		if err != nil && !apierrors.IsConflict(err) && k.lost.Err() == nil {
			slog.Debug("heartbeat", "node", k.o.Name, "error", err)
		}
	}
}

// renew holds the node's Lease, until the node is lost.
func (k *Kubelet) renew() {
	ofNode := func(l *coordinationv1.Lease) error {
		node, err := k.client.CoreV1().Nodes().Get(k.lost, k.o.Name, metav1.GetOptions{})
		if err == nil {
			owner := metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}
			l.OwnerReferences = []metav1.OwnerReference{owner}
		}
		return err
	}
	lease.NewController(clock.RealClock{}, k.client, k.o.Name, leaseSeconds, func() {}, renewInterval,
		k.o.Name, corev1.NamespaceNodeLease, ofNode).Run(k.lost)
}

// watch hands every state of a pod of this node to the one who runs it, until the node is lost.
func (k *Kubelet) watch() {
	mine := fields.OneTermEqualSelector("spec.nodeName", k.o.Name)
	_, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewListWatchFromClient(k.client.CoreV1().RESTClient(), "pods", metav1.NamespaceAll, mine),
		ObjectType:    &corev1.Pod{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { k.observe(o, false) },
			UpdateFunc: func(_, o any) { k.observe(o, false) },
			DeleteFunc: func(o any) {
				if unknown, ok := o.(cache.DeletedFinalStateUnknown); ok {
					o = unknown.Obj
				}
				k.observe(o, true)
			},
		},
	})
	controller.RunWithContext(k.lost)
}

// observe starts what runs a pod, or tells it what has changed.
func (k *Kubelet) observe(o any, gone bool) {
	api, ok := o.(*corev1.Pod)
	if !ok {
		return
	}
	k.mu.Lock()
	p := k.pods[api.UID]
	if p == nil {
		if gone || finished(api) && api.DeletionTimestamp == nil {
			k.mu.Unlock()
			return
		}
		p = newPod(k, api)
		k.pods[api.UID] = p
		k.works.Go(func() {
			p.run()
			k.mu.Lock()
			defer k.mu.Unlock()
			delete(k.pods, api.UID)
		})
	}
	k.mu.Unlock()
	p.observe(api, gone)
}

func finished(api *corev1.Pod) bool {
	return api.Status.Phase == corev1.PodSucceeded || api.Status.Phase == corev1.PodFailed
}

// Package controllers models the controllers of Cast AI that matter when it is taken out of a cluster: each does what
// the real one was seen to do, and has no more consideration than that one. They run in pods, as processes of package
// kubelet.
package controllers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/castai/kubectl-castai/test/kubelet"
)

// Programs are the controllers, by name.
func Programs() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"operator":                Operator,
		"agent":                   Agent,
		"evictor":                 Evictor,
		"cluster-controller":      ClusterController,
		"crd-upgrade":             CRDUpgrade,
		"workload-autoscaler":     WorkloadAutoscaler,
		"liqo-controller-manager": LiqoControllerManager,
		"virtual-kubelet":         VirtualKubelet,
		"install":                 Install,
		"install-omni":            InstallOmni,
		"outside":                 Outside,
		"uninstall":               Uninstall,
	}
}

// namespace is the one of the pod.
func namespace() string { return os.Getenv("POD_NAMESPACE") }

// listenOn returns the address of a port of the pod.
func listenOn(port int) string { return fmt.Sprintf("%s:%d", os.Getenv(kubelet.PodAddress), port) }

// file returns where a file of the pod is.
func file(path string) string { return filepath.Join(os.Getenv(kubelet.PodRoot), path) }

// newClient returns a client with the rights of the pod, or of whoever runs the program.
func newClient() (client.Client, error) {
	config, err := ctrl.GetConfig()
	if err != nil {
		return nil, err
	}
	return client.New(config, client.Options{})
}

// newManager returns a manager whose replicas elect a leader, by a Lease. The Lease is not given back at the end: the
// next leader waits until it has run out, as after a crash.
func newManager(lease string, change func(*ctrl.Options)) (manager.Manager, error) {
	ctrl.SetLogger(zap.New())
	config, err := ctrl.GetConfig()
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	duration, deadline, retry := 6*time.Second, 4*time.Second, time.Second
	o := ctrl.Options{
		Scheme:         scheme,
		LeaderElection: true, LeaderElectionID: lease, LeaderElectionNamespace: namespace(),
		LeaseDuration: &duration, RenewDeadline: &deadline, RetryPeriod: &retry,
		Metrics:                server.Options{BindAddress: "0"},
		HealthProbeBindAddress: listenOn(8081),
		Cache:                  cache.Options{DefaultNamespaces: map[string]cache.Config{namespace(): {}}},
		Client:                 client.Options{Cache: &client.CacheOptions{Unstructured: false}},
	}
	if change != nil {
		change(&o)
	}
	m, err := ctrl.NewManager(config, o)
	if err != nil {
		return nil, err
	}
	return m, errors.Join(m.AddHealthzCheck("ping", healthz.Ping), m.AddReadyzCheck("ping", healthz.Ping))
}

// lead runs work every second, in one of the replicas. Its errors are logged: the next time may be better.
func lead(ctx context.Context, lease string, work func(ctx context.Context, c client.Client) error) error {
	m, err := newManager(lease, nil)
	if err != nil {
		return err
	}
	// Not from a cache: what a controller does is to depend on what there is.
	c, err := client.New(m.GetConfig(), client.Options{Scheme: m.GetScheme()})
	if err != nil {
		return err
	}
	err = m.Add(manager.RunnableFunc(func(ctx context.Context) error {
		every(ctx, time.Second, func() {
			if err := work(ctx, c); err != nil {
				m.GetLogger().Error(err, "work")
			}
		})
		return nil
	}))
	if err != nil {
		return err
	}
	return m.Start(ctx)
}

// takeTime waits for as many seconds as a variable of the pod says.
func takeTime(ctx context.Context, variable string) error {
	seconds, err := strconv.Atoi(os.Getenv(variable))
	if err != nil {
		return fmt.Errorf("%s: %w", variable, err)
	}
	timer := time.NewTimer(time.Duration(seconds) * time.Second)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// every calls f at once, and then with every period, until ctx ends.
func every(ctx context.Context, period time.Duration, f func()) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		f()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

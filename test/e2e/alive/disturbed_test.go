package alive

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/watch"

	"github.com/castai/kubectl-castai/test/living"
)

// lull is how long nothing happens after which a disturbance counts as over.
const lull = 15 * time.Second

// disturbances are what goes on in an installation when an offboarding begins. Of each, moments is about how many
// objects come or go meanwhile, as measured.
var disturbances = []struct {
	name    string
	moments int
	// begin begins it and returns what ends the part of it that a person does.
	begin func(ctx context.Context) (end func() error, err error)
	// restored: the backup brings the installation to life again.
	restored bool
}{
	{"upgrade", 40, upgrade, true},
	{"rollout", 24, rollout, true},
	{"leader change", 6, leaders, true},
	{"uninstall", 60, uninstall, false},
}

// Whatever goes on in an installation when an offboarding begins, the same holds.
func TestDisturbed(t *testing.T) {
	for _, d := range disturbances {
		for _, n := range moments(t, d.moments) {
			t.Run(fmt.Sprintf("%s/%d", d.name, n), func(t *testing.T) {
				before := cluster.Settled(t)
				reset(t, before)
				if err := cluster.Install(t.Context()); err != nil {
					t.Fatal(err)
				}
				disturb(t, d.begin, n)
				backup := t.TempDir() + "/backup"
				offboard(t, backup)
				clean(t, before)
				if d.restored {
					back(t, backup)
				}
			})
		}
	}
}

// disturb begins a disturbance and returns at the n-th moment of it, or when it is over.
func disturb(t *testing.T, begin func(context.Context) (func() error, error), n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	seen, err := cluster.Moments(ctx, watch.Added, watch.Deleted)
	if err != nil {
		t.Fatal(err)
	}
	end, err := begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	count, name, err := seen.Until(ctx, n, lull)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("moment %d: %s", count, name)
	if err := end(); err != nil {
		t.Fatal(err)
	}
}

func done() error { return nil }

// upgrade asks the operator for other versions of the components.
func upgrade(ctx context.Context) (func() error, error) {
	for _, component := range []string{"castai-agent", "castai-evictor", "cluster-controller"} {
		_, err := cluster.Kubectl(ctx, "patch", "components.castware.cast.ai", component, "--namespace", living.Namespace,
			"--type=merge", "--patch", `{"spec":{"version":"99.0.0"}}`)
		if err != nil {
			return nil, err
		}
	}
	return done, nil
}

// rollout replaces all pods.
func rollout(ctx context.Context) (func() error, error) {
	_, err := cluster.Kubectl(ctx, "rollout", "restart", "deployments", "--namespace", living.Namespace)
	return done, err
}

// leaders takes a pod of each Deployment away, so that another leads.
func leaders(ctx context.Context) (func() error, error) {
	leases, err := cluster.Kubectl(ctx, "get", "leases", "--namespace", living.Namespace,
		"--output=jsonpath={range .items[*]}{.spec.holderIdentity}{\"\\n\"}{end}")
	if err != nil {
		return nil, err
	}
	pods := []string{"delete", "pods", "--namespace", living.Namespace, "--wait=false"}
	for holder := range strings.Lines(string(leases)) {
		pod, _, _ := strings.Cut(strings.TrimSpace(holder), "_")
		pods = append(pods, pod)
	}
	_, err = cluster.Kubectl(ctx, pods...)
	return done, err
}

// uninstall is a person's Helm, killed at the moment.
func uninstall(ctx context.Context) (func() error, error) {
	cmd, err := cluster.Program(ctx, "uninstall")
	if err != nil {
		return nil, err
	}
	return func() error { return kill(cmd) }, cmd.Start()
}

// kill ends a command, which may have ended before.
func kill(cmd *exec.Cmd) error {
	_ = cmd.Process.Kill()
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

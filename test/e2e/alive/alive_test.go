package alive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/watch"

	"github.com/castai/kubectl-castai/test/living"
)

// A settled installation goes, nothing comes back, and its backup brings it to life again.
func TestSettled(t *testing.T) {
	before := cluster.Settled(t)
	reset(t, before)
	if err := cluster.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	backup := t.TempDir() + "/backup"
	offboard(t, backup)
	clean(t, before)
	back(t, backup)
	offboard(t, t.TempDir()+"/backup")
	clean(t, before)
}

// objects are how many appear while Cast AI is installed, as measured: about so many moments there are.
const objects = 66

// At every moment of an installation the same holds.
func TestInstalling(t *testing.T) {
	for _, moment := range moments(t, objects) {
		t.Run(fmt.Sprintf("object %d", moment), func(t *testing.T) {
			before := cluster.Settled(t)
			reset(t, before)
			whole := interrupt(t, moment)
			backup := t.TempDir() + "/backup"
			offboard(t, backup)
			clean(t, before)
			if whole {
				back(t, backup)
				offboard(t, t.TempDir()+"/backup")
				same(t, before)
			}
		})
	}
}

// evictorRecord is the record of a release whose pre-install hook takes a while.
const evictorRecord = "sh.helm.release.v1.castai-evictor.v1"

// A release that the operator was installing when it was stopped is no dead end: the operator of the restored
// installation, which waits 10 min for a pending one, installs it.
func TestPendingRelease(t *testing.T) {
	before := cluster.Settled(t)
	reset(t, before)
	slow := living.More{Component: "castai-evictor", Version: "0.35.136", Values: map[string]any{"crdUpgradeSeconds": 60}}
	interrupted(t, func(name string) bool { return strings.HasSuffix(name, "/"+evictorRecord) }, slow)
	backup := t.TempDir() + "/backup"
	offboard(t, backup, "--clean-up-timeout=0")
	clean(t, before)
	saved, files := "", os.DirFS(backup)
	err := fs.WalkDir(files, ".", func(path string, _ fs.DirEntry, err error) error {
		if strings.Contains(path, evictorRecord) {
			content, readErr := fs.ReadFile(files, path)
			saved, err = string(content), errors.Join(err, readErr)
		}
		return err
	})
	if err != nil || !strings.Contains(saved, "status: failed") {
		t.Fatalf("the backup does not have a release in progress: %v\n%s", err, saved)
	}
	back(t, backup)
}

// moments returns the moments to try, of so many that there are. ALIVE says which: "all", a number of them, which SEED
// chooses, or a list such as "12,30,". By default it is one.
func moments(t *testing.T, there int) []int {
	t.Helper()
	which := cmp.Or(os.Getenv("ALIVE"), "1")
	if strings.Contains(which, ",") {
		var out []int
		for s := range strings.SplitSeq(strings.Trim(which, ","), ",") {
			out = append(out, number(t, s))
		}
		return out
	}
	count := there
	if which != "all" {
		count = min(number(t, which), there)
	}
	seed := cmp.Or(os.Getenv("SEED"), "1")
	t.Logf("SEED=%s", seed)
	all := rand.New(rand.NewPCG(uint64(number(t, seed)), 0)).Perm(there)[:count] //nolint:gosec // not a secret
	for i := range all {
		all[i]++
	}
	slices.Sort(all)
	return all
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		t.Fatalf("%q is no number: %v", s, err)
	}
	return n
}

// interrupt begins to install Cast AI and kills the user's Helm when the n-th object has appeared, while what is in
// the cluster goes on. It returns whether the Components were there already.
func interrupt(t *testing.T, n int) bool {
	t.Helper()
	count := 0
	return interrupted(t, func(string) bool { count++; return count == n })
}

// interrupted does so when the object has appeared.
func interrupted(t *testing.T, at func(name string) bool, more ...living.More) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	seen, err := cluster.Moments(ctx, watch.Added)
	if err != nil {
		t.Fatal(err)
	}
	cmd, err := cluster.Program(ctx, "install", more...)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	name, err := seen.Wait(ctx, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("it ends with %s", name)
	if err := kill(cmd); err != nil {
		t.Fatal(err)
	}
	components, err := cluster.Kubectl(ctx, "get", "components.castware.cast.ai", "--namespace=castai-agent",
		"--output=name", "--ignore-not-found")
	return err == nil && strings.Count(string(components), "\n") == 3
}

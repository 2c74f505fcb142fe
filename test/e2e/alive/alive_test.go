package alive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
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

// At every moment of an installation the same holds. ALIVE says which moments to try: "all", a number of them, which SEED
// chooses, or a list such as "12,30,". By default it is one in the middle of what the user installs.
func TestInstalling(t *testing.T) {
	for _, moment := range moments(t) {
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
				clean(t, before)
			}
		})
	}
}

// moments returns the moments to try.
func moments(t *testing.T) []int {
	t.Helper()
	which, count := cmp.Or(os.Getenv("ALIVE"), "12,"), objects
	if strings.Contains(which, ",") {
		var out []int
		for s := range strings.SplitSeq(strings.Trim(which, ","), ",") {
			out = append(out, number(t, s))
		}
		return out
	}
	if which != "all" {
		count = min(number(t, which), objects)
	}
	seed := os.Getenv("SEED")
	if seed == "" {
		seed = strconv.Itoa(rand.IntN(1000)) //nolint:gosec // not a secret
	}
	t.Logf("SEED=%s", seed)
	all := rand.New(rand.NewPCG(uint64(number(t, seed)), 0)).Perm(objects)[:count] //nolint:gosec // not a secret
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
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	seen, err := cluster.Moments(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cmd, err := cluster.Installer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	name, err := seen.Wait(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("object %d is %s", n, name)
	_ = cmd.Process.Kill() // it may have ended
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	components, err := cluster.Kubectl(ctx, "get", "components.castware.cast.ai", "--namespace=castai-agent", "--output=name", "--ignore-not-found")
	return err == nil && strings.Count(string(components), "\n") == 3
}

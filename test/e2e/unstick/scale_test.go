package unstick

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/engine"
)

// Case 12: many objects with finalizers in one namespace.
const (
	many      = 2_000
	requests  = 16        // in flight, as the plugin has
	maxMemory = 320 << 20 // of the plugin, in bytes; it starts with about 60 MiB
)

// TestManyObjects frees a namespace of many objects, and patches as many in
// another one without any further ado, to compare.
func TestManyObjects(t *testing.T) {
	ours, bare := fresh(t), fresh(t)
	for _, ns := range []string{ours, bare} {
		each(t, func(ctx context.Context, name string) error {
			u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}}
			u.SetName(name)
			u.SetFinalizers([]string{hold})
			_, err := api.Resource(configMaps).Namespace(ns).Create(ctx, u, metav1.CreateOptions{})
			return err
		})
		begin(t, ns)
	}

	start := time.Now()
	each(t, func(ctx context.Context, name string) error {
		_, err := api.Resource(configMaps).Namespace(bare).Patch(ctx, name, types.MergePatchType,
			[]byte(`{"metadata":{"finalizers":[]}}`), metav1.PatchOptions{})
		return err
	})
	patches := time.Since(start)
	until(t, namespaces, bare, gone)

	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var stdout, stderr strings.Builder
	cmd := admin.Command(ctx, "unstick-ns", ours, "--yes", "--patience="+patience.String(), "-o", "json")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start = time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%.4000s", err, stderr.String())
	}
	all := time.Since(start)
	if get(t, namespaces, "", ours) != nil {
		t.Error("the namespace is still there")
	}
	var report engine.Report
	if err := json.Unmarshal([]byte(stdout.String()), &report); err != nil {
		t.Fatal(err)
	}
	stripped := 0
	for _, o := range report.Outcomes {
		if o.Verb == engine.StripFinalizers && o.Result == engine.ResultDone && len(o.Finalizers) == 1 {
			stripped++
		}
	}
	if stripped != many {
		t.Errorf("%d objects are in the report", stripped)
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		t.Fatal("the system does not tell how much memory was used")
	}
	memory := usage.Maxrss
	if runtime.GOOS == "linux" {
		memory <<= 10 // it counts in KiB
	}
	if memory > maxMemory {
		t.Errorf("it took %d MiB", memory>>20)
	}
	// It also waits: for the namespace to move by itself, and for its controller.
	if allowed := 3*patches + 40*time.Second; all > allowed {
		t.Errorf("it took %s, more than %s", all, allowed)
	}
	if lines := strings.Count(stderr.String(), "\n"); lines > 200 {
		t.Errorf("%d lines of progress", lines)
	}
	t.Logf("%d objects: %d bare PATCHes took %s; unstick-ns took %s in all, and %d MiB", many, many,
		patches.Round(time.Millisecond), all.Round(time.Millisecond), memory>>20)
	for _, p := range report.Phases {
		t.Logf("%s: %.1f s", p.Title, p.Seconds)
	}
	t.Logf("progress:\n%.3000s", stderr.String())
}

// each calls do for each of many names, as fast as the server allows.
func each(t *testing.T, do func(ctx context.Context, name string) error) {
	t.Helper()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(requests)
	for i := range many {
		group.Go(func() error { return do(ctx, fmt.Sprintf("object-%05d", i)) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

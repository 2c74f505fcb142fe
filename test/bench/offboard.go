package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/test/bench/page"
	"github.com/castai/kubectl-castai/test/compare"
	"github.com/castai/kubectl-castai/test/controlplane"
	"github.com/castai/kubectl-castai/test/fixtures"
)

//go:embed documented.sh
var documented string

// calm compares offboardings in which nothing gets stuck.
func (b *bench) calm(ctx context.Context) error {
	return b.offboardings(ctx, fixtures.Standalone, true)
}

// stuck compares offboardings of everything, with what hangs.
func (b *bench) stuck(ctx context.Context) error { return b.offboardings(ctx, fixtures.All, false) }

// offboardings removes a set by the documented commands and by the plugin, each
// from a cluster of its own.
func (b *bench) offboardings(ctx context.Context, set fixtures.Set, calm bool) error {
	for round := range b.runs {
		for _, way := range []string{page.Documented, page.Castai} {
			b.say("round %d of %d: %s", round+1, b.runs, way)
			sample, err := b.offboarding(ctx, set, calm, way)
			if err != nil {
				return err
			}
			b.run.Add(way, 0, sample)
		}
	}
	return nil
}

// offboarding fills a cluster, empties it, and compares.
func (b *bench) offboarding(ctx context.Context, set fixtures.Set, calm bool, way string) (sample page.Sample,
	err error) {
	s, err := b.tools.start(ctx, controlplane.Options{})
	if err != nil {
		return sample, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.AddNode(ctx, controlplane.Node{Name: "node-1"}); err != nil {
		return sample, err
	}
	before, err := compare.Settled(ctx, s.config)
	if err != nil {
		return sample, err
	}
	sets := []fixtures.Set{set, fixtures.Foreign}
	if err := fixtures.Install(ctx, s.config, sets...); err != nil {
		return sample, err
	}
	if calm {
		if err := release(ctx, s); err != nil {
			return sample, err
		}
	}
	installed, err := compare.Settled(ctx, s.config)
	if err != nil {
		return sample, err
	}

	if way == page.Documented {
		script := fmt.Sprintf("LIMIT=%ds\n%s", int(b.limit.Seconds()), documented)
		sample, err = s.run(ctx, nil, "bash", "-c", script+"\ntrue")
	} else {
		sample, err = s.offboard(ctx)
	}
	if err != nil {
		return sample, err
	}
	after, err := compare.Settled(ctx, s.config)
	if err != nil {
		return sample, err
	}
	owned, err := fixtures.OwnedRefs(sets...)
	if err != nil {
		return sample, err
	}
	r := compare.Offboarding(before, installed, after, owned)
	sample.Counts = map[string]int{
		"removed": len(r.Removed), "left": len(r.Left), "touched": len(r.Touched),
		"given up": strings.Count(readFile(filepath.Join(s.dir, "given-up.txt")), "\n"),
	}
	return sample, nil
}

// offboard runs the plugin, and takes the times of its phases from its report.
func (s *server) offboard(ctx context.Context, flags ...string) (page.Sample, error) {
	var stdout strings.Builder
	sample, err := s.castai(ctx, &stdout, append([]string{"offboard", "--yes", "-o", "json"}, flags...)...)
	if err != nil {
		return sample, err
	}
	var report engine.Report
	if err := json.Unmarshal([]byte(stdout.String()), &report); err != nil {
		return sample, fmt.Errorf("read the report: %w", err)
	}
	sample.Parts = map[string]float64{}
	for _, p := range report.Phases {
		sample.Parts[p.Title] = p.Seconds
	}
	return sample, nil
}

// release takes the finalizers off all custom resources, as the controllers of
// their kinds would, which do not run here.
func release(ctx context.Context, s *server) error {
	definitions, err := s.api.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1",
		Resource: "customresourcedefinitions"}).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	custom := map[string]bool{}
	for _, d := range definitions.Items {
		custom[d.GetName()] = true
	}
	lists, err := s.disco.ServerPreferredResources()
	if err != nil {
		return err
	}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return err
		}
		for _, r := range list.APIResources {
			if gvr := gv.WithResource(r.Name); custom[gvr.GroupResource().String()] {
				if err := releaseKind(ctx, s.api.Resource(gvr)); err != nil {
					return fmt.Errorf("release %s: %w", gvr.GroupResource(), err)
				}
			}
		}
	}
	return nil
}

func releaseKind(ctx context.Context, api dynamic.NamespaceableResourceInterface) error {
	objects, err := api.List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil // a part of discovery that is no kind
	}
	if err != nil {
		return err
	}
	for _, o := range objects.Items {
		if len(o.GetFinalizers()) == 0 {
			continue
		}
		_, err := api.Namespace(o.GetNamespace()).Patch(ctx, o.GetName(), types.MergePatchType,
			[]byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		if err != nil {
			return err
		}
	}
	return nil
}

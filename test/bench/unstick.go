package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/test/bench/page"
	"github.com/castai/kubectl-castai/test/controlplane"
)

// hold is a finalizer that nobody removes.
const hold = "example.com/hold"

// unstick frees namespaces whose objects have finalizers.
func (b *bench) unstick(ctx context.Context) (err error) {
	s, err := b.tools.start(ctx, controlplane.Options{NoScheduler: true, NoKwok: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	for _, size := range b.stuckIn {
		for round := range b.runs {
			b.say("%d objects, round %d of %d", size, round+1, b.runs)
			floor, err := s.patchFloor(ctx, fmt.Sprintf("floor-%d-%d", size, round), size)
			if err != nil {
				return err
			}
			b.run.Add(page.Floor, size, floor)
			ours, err := s.unstick(ctx, fmt.Sprintf("ours-%d-%d", size, round), size)
			if err != nil {
				return err
			}
			b.run.Add(page.Castai, size, ours)
		}
	}
	return nil
}

// hang makes a namespace that hangs in its deletion.
func (s *server) hang(ctx context.Context, name string, size int) error {
	if err := create(ctx, s.api.Resource(namespaces), object("v1", "Namespace", "", name)); err != nil {
		return err
	}
	err := each(ctx, size, func(ctx context.Context, i int) error {
		o := object("v1", "ConfigMap", name, fmt.Sprintf("object-%05d", i))
		o.SetFinalizers([]string{hold})
		return create(ctx, s.api.Resource(configMaps).Namespace(name), o)
	})
	if err != nil {
		return err
	}
	if err := s.api.Resource(namespaces).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	// Its controller has asked for the deletion of all, and found finalizers.
	return wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		ns, err := s.api.Resource(namespaces).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		return strings.Contains(fmt.Sprint(ns.Object["status"]), "SomeFinalizersRemain"), nil
	})
}

// patchFloor frees a namespace by nothing but a PATCH for each object.
func (s *server) patchFloor(ctx context.Context, name string, size int) (page.Sample, error) {
	if err := s.hang(ctx, name, size); err != nil {
		return page.Sample{}, err
	}
	before, err := s.auditSize()
	if err != nil {
		return page.Sample{}, err
	}
	used, start := processorTime(), time.Now()
	err = each(ctx, size, func(ctx context.Context, i int) error {
		_, err := s.api.Resource(configMaps).Namespace(name).Patch(ctx, fmt.Sprintf("object-%05d", i), types.MergePatchType,
			[]byte(`{"metadata":{"finalizers":[]}}`), metav1.PatchOptions{})
		return err
	})
	if err != nil {
		return page.Sample{}, err
	}
	sample := page.Sample{Seconds: time.Since(start).Seconds(), CPU: processorTime() - used}
	if sample.Requests, err = s.verbsSince(before); err != nil {
		return sample, err
	}
	err = wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		_, err := s.api.Resource(namespaces).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		return false, err
	})
	sample.Parts = map[string]float64{page.Gone: time.Since(start).Seconds()}
	return sample, err
}

// unstick frees a namespace with the plugin.
func (s *server) unstick(ctx context.Context, name string, size int) (page.Sample, error) {
	if err := s.hang(ctx, name, size); err != nil {
		return page.Sample{}, err
	}
	var stdout strings.Builder
	sample, err := s.castai(ctx, &stdout, "unstick-ns", name, "--yes", "--patience=1s", "-o", "json")
	if err != nil {
		return sample, err
	}
	var report engine.Report
	if err := json.Unmarshal([]byte(stdout.String()), &report); err != nil {
		return sample, fmt.Errorf("read the report: %w", err)
	}
	stripped := 0
	for _, o := range report.Outcomes {
		stripped += len(o.Finalizers)
	}
	if stripped != size {
		return sample, fmt.Errorf("the report has %d finalizers, not %d", stripped, size)
	}
	if _, err := s.api.Resource(namespaces).Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		return sample, fmt.Errorf("the namespace is not gone: %w", err)
	}
	return sample, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/castai/kubectl-castai/test/bench/page"
	"github.com/castai/kubectl-castai/test/compare"
	"github.com/castai/kubectl-castai/test/controlplane"
	"github.com/castai/kubectl-castai/test/driver"
	"github.com/castai/kubectl-castai/test/living"
)

// alive compares offboardings of a Cast AI whose controllers run, each in a
// cluster of its own.
func (b *bench) alive(ctx context.Context) error {
	for round := range b.runs {
		for _, way := range []string{page.Documented, page.Forced, page.Castai} {
			b.say("round %d of %d: %s", round+1, b.runs, way)
			sample, err := b.living(ctx, way)
			if err != nil {
				return err
			}
			b.run.Add(way, 0, sample)
		}
	}
	return nil
}

// living installs Cast AI, waits until it lives, and takes it out again.
func (b *bench) living(ctx context.Context, way string) (sample page.Sample, err error) {
	s, err := b.tools.start(ctx, controlplane.Options{Quick: true})
	if err != nil {
		return sample, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	c, err := living.Enliven(ctx, &driver.Cluster{Cluster: s.Cluster, Config: s.config}, filepath.Dir(b.tools.castai))
	if err != nil {
		return sample, err
	}
	defer func() { err = errors.Join(err, c.Quit()) }()
	before, err := compare.Settled(ctx, s.config)
	if err != nil {
		return sample, err
	}
	if err := c.Install(ctx); err != nil {
		return sample, err
	}
	switch way {
	case page.Documented:
		script := fmt.Sprintf("LIMIT=%ds\n%s\ntrue", int(b.limit.Seconds()), documented)
		sample, err = s.run(ctx, nil, "bash", "-c", script)
	case page.Forced:
		sample, err = s.offboard(ctx, "--clean-up-timeout=0")
	default:
		sample, err = s.offboard(ctx)
	}
	if err != nil {
		return sample, err
	}
	after, err := compare.Settled(ctx, s.config)
	if err != nil {
		return sample, err
	}
	changes := compare.Changes(before, after)
	for _, change := range changes {
		b.say("  %s", change)
	}
	sample.Counts = map[string]int{
		"left":     len(changes),
		"given up": strings.Count(readFile(filepath.Join(s.dir, "given-up.txt")), "\n"),
	}
	return sample, nil
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/castai/kubectl-castai/test/bench/page"
	"github.com/castai/kubectl-castai/test/controlplane"
	"github.com/castai/kubectl-castai/test/fixtures"
)

const pollInterval = 50 * time.Millisecond

// inventory looks at a cluster with Cast AI and more and more of others. No
// controllers run, so that every round sees the same objects.
func (b *bench) inventory(ctx context.Context) (err error) {
	s, err := b.tools.start(ctx, controlplane.Options{NoControllerManager: true, NoScheduler: true, NoKwok: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := fixtures.Install(ctx, s.config, fixtures.Small); err != nil {
		return err
	}
	if err := seedKinds(ctx, s.api, s.disco); err != nil {
		return err
	}
	seeded := 0
	for _, size := range b.foreign {
		b.say("seeding %d objects", size)
		if err := seedObjects(ctx, s.api, seeded, size); err != nil {
			return err
		}
		seeded = size
		for round := range b.runs {
			b.say("%d objects, round %d of %d", size, round+1, b.runs)
			if err := b.inventories(ctx, s, size); err != nil {
				return err
			}
		}
	}
	return nil
}

// looks is how often a round takes an inventory in each of the fast ways, in
// turn. What one of them leaves to the server's garbage collector, the next one
// pays for, and that is as much as the inventory itself.
const looks = 5

// inventories takes inventories in each way.
func (b *bench) inventories(ctx context.Context, s *server, size int) error {
	var floors, ours []page.Sample
	for range looks {
		floor, err := s.listFloor(ctx)
		if err != nil {
			return fmt.Errorf("floor: %w", err)
		}
		floors = append(floors, floor)
		our, err := s.castai(ctx, nil, "status", "-o", "json")
		if err != nil {
			return err
		}
		our.Counts = floor.Counts
		ours = append(ours, our)
	}
	b.run.Add(page.Floor, size, middle(floors))
	b.run.Add(page.Castai, size, middle(ours))

	resources, err := s.Kubectl(ctx, "api-resources", "--verbs=list", "-o", "name")
	if err != nil {
		return err
	}
	kubectl, err := s.run(ctx, nil, s.tools.kubectl, "get", strings.Join(strings.Fields(string(resources)), ","),
		"--all-namespaces", "--ignore-not-found", "-o", "name")
	if err != nil {
		return err
	}
	b.run.Add(page.Kubectl, size, kubectl)
	return nil
}

// middle returns the sample with the median time.
func middle(samples []page.Sample) page.Sample {
	slices.SortFunc(samples, func(a, b page.Sample) int { return cmp.Compare(a.Seconds, b.Seconds) })
	return samples[len(samples)/2]
}

package main

import (
	"context"
	"os"

	"github.com/castai/kubectl-castai/test/bench/page"
)

// starts is how often each program is started in a round: one is over too soon
// to say anything on a machine that does other things, too.
const starts = 10

// start measures programs that print their version, which use no cluster.
func (b *bench) start(ctx context.Context) error {
	for range b.runs * starts {
		for _, p := range []struct {
			way     string
			command []string
		}{
			{page.Kubectl, []string{b.tools.kubectl, "version", "--client"}},
			{page.Castai, []string{b.tools.castai, "version"}},
		} {
			sample, err := b.tools.run(ctx, os.Environ(), b.tools.dir, nil, p.command...)
			if err != nil {
				return err
			}
			b.run.Add(p.way, 0, sample)
		}
	}
	return nil
}

package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"

	"github.com/castai/kubectl-castai/test/bench/page"
)

// line is the result of one benchmark of go test: its size and nanoseconds.
var line = regexp.MustCompile(`(?m)^BenchmarkPlan/(\d+)\S*\s+\d+\s+([\d.]+) ns/op`)

// planning runs the Go benchmark of judging and planning on snapshots.
func (b *bench) planning(ctx context.Context) error {
	for round := range b.runs {
		b.say("round %d of %d", round+1, b.runs)
		out, err := output(ctx, b.tools.root, "go", "test", "./pkg/ownership", "-run=^$", "-bench=^BenchmarkPlan$")
		if err != nil {
			return err
		}
		samples, err := plans(out)
		if err != nil {
			return err
		}
		for size, s := range samples {
			b.run.Add(page.Castai, size, s)
		}
	}
	return nil
}

// plans reads what go test printed, by size.
func plans(out string) (map[int]page.Sample, error) {
	found := map[int]page.Sample{}
	for _, m := range line.FindAllStringSubmatch(out, -1) {
		size, err := strconv.Atoi(m[1])
		if err != nil {
			return nil, err
		}
		nanoseconds, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return nil, err
		}
		found[size] = page.Sample{Seconds: nanoseconds / 1e9}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("go test printed no result: %s", out)
	}
	return found, nil
}

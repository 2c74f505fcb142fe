package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/castai/kubectl-castai/test/controlplane"
)

// What a release must keep to.
const (
	mostBytes  = 45_000_000 // of a binary, unpacked
	startShare = 3          // kubectl's start takes at least that many times as long
	startRuns  = 15
)

// binary is an entry of goreleaser's artifacts.json.
type binary struct {
	Type, Path   string
	GOOS, GOARCH string
}

// binaries lists what goreleaser has built into a folder. Its paths start at
// the folder around that.
func binaries(dist string) ([]binary, error) {
	content, err := os.ReadFile(filepath.Join(dist, "artifacts.json"))
	if err != nil {
		return nil, err
	}
	var all []binary
	if err := json.Unmarshal(content, &all); err != nil {
		return nil, fmt.Errorf("artifacts.json: %w", err)
	}
	all = slices.DeleteFunc(all, func(b binary) bool { return b.Type != "Binary" })
	for i := range all {
		all[i].Path = filepath.Join(dist, "..", all[i].Path)
	}
	return all, nil
}

// measure prints the size of each binary, and how long this system's takes to
// start compared with kubectl. It is an error if either is too much.
func measure(ctx context.Context, out io.Writer, dist string) error {
	list, err := binaries(dist)
	if err != nil {
		return err
	}
	var errs []error
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, b := range list {
		info, err := os.Stat(b.Path)
		if err != nil {
			return err
		}
		if info.Size() > mostBytes {
			errs = append(errs, fmt.Errorf("%s/%s has %d bytes, more than %d", b.GOOS, b.GOARCH, info.Size(), mostBytes))
		}
		if _, err := fmt.Fprintf(w, "%s/%s\t%.1f MB\t\n", b.GOOS, b.GOARCH, float64(info.Size())/1e6); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return errors.Join(append(errs, measureStart(ctx, out, list))...)
}

// measureStart compares the start of the binary for this system with kubectl's.
func measureStart(ctx context.Context, out io.Writer, list []binary) error {
	i := slices.IndexFunc(list, func(b binary) bool { return b.GOOS == runtime.GOOS && b.GOARCH == runtime.GOARCH })
	if i < 0 {
		return fmt.Errorf("there is no binary for %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	bin, err := controlplane.Binaries(ctx)
	if err != nil {
		return err
	}
	var own, kubectls []time.Duration
	for range startRuns { // one after the other, so that what else the machine does hits both
		for _, m := range []struct {
			into    *[]time.Duration
			command []string
		}{{&own, []string{list[i].Path, "version"}}, {&kubectls, []string{bin.Kubectl, "version", "--client"}}} {
			start := time.Now()
			if output, err := exec.CommandContext(ctx, m.command[0], m.command[1:]...).CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w: %s", m.command[0], err, output)
			}
			*m.into = append(*m.into, time.Since(start))
		}
	}
	mine, theirs := slices.Min(own), slices.Min(kubectls) // what the machine does beside it only adds
	if _, err := fmt.Fprintf(out, "start: %s, kubectl's %s (the best of %d)\n", milliseconds(mine), milliseconds(theirs),
		startRuns); err != nil {
		return err
	}
	if mine*startShare > theirs {
		return fmt.Errorf("it starts in %s: more than a third of kubectl's %s", milliseconds(mine), milliseconds(theirs))
	}
	return nil
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

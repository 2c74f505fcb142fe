package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
)

// mostBytes is how large a binary may be, unpacked.
const mostBytes = 45_000_000

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

// measure prints the size of each binary. It is an error if one is too large.
func measure(out io.Writer, dist string) error {
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
	return errors.Join(errs...)
}

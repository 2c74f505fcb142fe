// Package page turns what was measured into docs/benchmarks.md and its plots. It
// is pure: the same figures give the same page.
package page

import (
	"encoding/json"
	"fmt"
	"os"
)

// Page is everything that was measured, enough to write the page again.
type Page struct {
	Runs []Run `json:"runs"`
}

// Run is one benchmark with everything that was measured in the same go.
type Run struct {
	Benchmark  string     `json:"benchmark"`
	Conditions Conditions `json:"conditions"`
	Series     []Series   `json:"series"`
}

// Conditions are those under which a benchmark ran.
type Conditions struct {
	Date       string  `json:"date"` // of the start, RFC 3339
	CPU        string  `json:"cpu"`
	CPUs       int     `json:"cpus"`
	MemoryGiB  float64 `json:"memoryGiB"`
	System     string  `json:"system"` // GOOS/GOARCH
	Go         string  `json:"go"`
	Kubernetes string  `json:"kubernetes"`
	Version    string  `json:"version"` // of the plugin
	// Limit is how long a documented command was waited for, in seconds.
	Limit      float64 `json:"limit"`
	LoadBefore float64 `json:"loadBefore"`
	LoadAfter  float64 `json:"loadAfter"`
}

// Series is one way of doing something, at one size, in the order of the rounds.
type Series struct {
	Way     string   `json:"way"`
	Size    int      `json:"size,omitempty"`
	Samples []Sample `json:"samples"`
}

// Sample is what one round took.
type Sample struct {
	Seconds float64 `json:"seconds"`
	// CPU is the processor time of the client, in seconds.
	CPU float64 `json:"cpu,omitempty"`
	// MemoryMiB is the peak of the largest process, 0 if it was not measured.
	MemoryMiB float64 `json:"memoryMiB,omitempty"`
	// Requests counts what the API server answered, by verb.
	Requests map[string]int `json:"requests,omitempty"`
	// Counts are of objects: left, touched; and of commands given up.
	Counts map[string]int `json:"counts,omitempty"`
	// Parts are the seconds that its parts took, by name.
	Parts map[string]float64 `json:"parts,omitempty"`
}

// Read reads a page from JSON; a file that is not there is an empty page.
func Read(path string) (*Page, error) {
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return &Page{}, nil
	}
	if err != nil {
		return nil, err
	}
	var p Page
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &p, nil
}

// Put adds a run, in the place of the one before of the same benchmark.
func (p *Page) Put(r Run) {
	for i := range p.Runs {
		if p.Runs[i].Benchmark == r.Benchmark {
			p.Runs[i] = r
			return
		}
	}
	p.Runs = append(p.Runs, r)
}

// find returns the run of a benchmark, or nil.
func (p *Page) find(benchmark string) *Run {
	for i := range p.Runs {
		if p.Runs[i].Benchmark == benchmark {
			return &p.Runs[i]
		}
	}
	return nil
}

// series returns one way at one size, or nil.
func (r *Run) series(way string, size int) *Series {
	for i := range r.Series {
		if r.Series[i].Way == way && r.Series[i].Size == size {
			return &r.Series[i]
		}
	}
	return nil
}

// Add notes a sample.
func (r *Run) Add(way string, size int, s Sample) {
	series := r.series(way, size)
	if series == nil {
		r.Series = append(r.Series, Series{Way: way, Size: size})
		series = &r.Series[len(r.Series)-1]
	}
	series.Samples = append(series.Samples, s)
}

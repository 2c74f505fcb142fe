package docs

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// The numbers in README.md are medians of docs/benchmarks.json.
func TestNumbersOfTheReadme(t *testing.T) {
	var all struct {
		Runs []struct {
			Benchmark string `json:"benchmark"`
			Series    []struct {
				Way     string `json:"way"`
				Samples []struct {
					Seconds float64            `json:"seconds"`
					Counts  map[string]float64 `json:"counts"`
				} `json:"samples"`
			} `json:"series"`
		} `json:"runs"`
	}
	if err := json.Unmarshal([]byte(read(t, "docs/benchmarks.json")), &all); err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{"documented commands": "| the documented commands |", "kubectl castai": "| `kubectl castai offboard"}
	readme, checked := read(t, "README.md"), 0
	for _, run := range all.Runs {
		if run.Benchmark != "stuck" {
			continue
		}
		for _, s := range run.Series {
			wants := map[string]float64{"seconds": 0, "left": 0, "touched": 0}
			for what := range wants {
				var values []float64
				for _, sample := range s.Samples {
					sample.Counts["seconds"] = sample.Seconds
					values = append(values, sample.Counts[what])
				}
				slices.Sort(values)
				wants[what] = math.Round(values[len(values)/2])
			}
			_, row, found := strings.Cut(readme, rows[s.Way])
			row, _, _ = strings.Cut(row, "\n")
			for what, value := range wants {
				want := map[string]string{
					"seconds": fmt.Sprintf(" %.0f s", value), "left": fmt.Sprintf("| %.0f objects |", value), "touched": fmt.Sprintf("| %.0f objects |", value),
				}[what]
				if what != "seconds" && value == 0 {
					want = "| none |"
				}
				if !found || !strings.Contains(row, want) {
					t.Errorf("%s: %s is %q, but README.md has %q", s.Way, what, want, row)
				}
			}
			checked++
		}
	}
	if checked != len(rows) {
		t.Errorf("%d of %d rows were compared", checked, len(rows))
	}
}

package docs

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// stuck are the medians of docs/benchmarks.json for the cluster in which things
// get stuck, by the way in which Cast AI was taken out, rounded as people read them.
func stuck(t *testing.T) map[string]map[string]float64 {
	t.Helper()
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
	out := map[string]map[string]float64{}
	for _, run := range all.Runs {
		if run.Benchmark != "stuck" {
			continue
		}
		for _, s := range run.Series {
			out[s.Way] = map[string]float64{}
			for _, what := range []string{"seconds", "left", "touched", "removed"} {
				var values []float64
				for _, sample := range s.Samples {
					sample.Counts["seconds"] = sample.Seconds
					values = append(values, sample.Counts[what])
				}
				slices.Sort(values)
				out[s.Way][what] = math.Round(values[len(values)/2])
			}
		}
	}
	return out
}

// The numbers in README.md are medians of docs/benchmarks.json.
func TestNumbersOfTheReadme(t *testing.T) {
	rows := map[string]string{"documented commands": "| the documented commands |",
		"kubectl castai": "| `kubectl castai offboard"}
	readme, medians := read(t, "README.md"), stuck(t)
	for way, begins := range rows {
		_, row, found := strings.Cut(readme, begins)
		row, _, _ = strings.Cut(row, "\n")
		objects := func(n float64) string {
			if n == 0 {
				return "| none |"
			}
			return fmt.Sprintf("| %.0f objects |", n)
		}
		m := medians[way]
		for _, want := range []string{fmt.Sprintf(" %.0f s", m["seconds"]), objects(m["left"]), objects(m["touched"])} {
			if !found || m == nil || !strings.Contains(row, want) {
				t.Errorf("%s: %q is not in README.md, which has %q", way, want, row)
			}
		}
	}
}

// So are those of the comparison.
func TestNumbersOfTheComparison(t *testing.T) {
	m := stuck(t)["documented commands"]
	text := strings.Join(strings.Fields(read(t, "docs/comparison.md")), " ")
	want := fmt.Sprintf("it left %.0f of %.0f objects behind, removed or changed %.0f of others", m["left"],
		m["left"]+m["removed"], m["touched"])
	if m == nil || !strings.Contains(text, want) {
		t.Errorf("docs/comparison.md lacks %q", want)
	}
}

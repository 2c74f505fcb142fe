package page

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Spread
	}{
		{nil, Spread{}},
		{[]float64{3}, Spread{3, 3, 3}},
		{[]float64{9, 1, 2}, Spread{2, 1, 9}},
		{[]float64{4, 1, 2, 9}, Spread{3, 1, 9}},
	} {
		if got := spread(c.values); got != c.want {
			t.Errorf("spread(%v) = %v, want %v", c.values, got, c.want)
		}
	}
}

func TestSpreadKeepsTheOrder(t *testing.T) {
	values := []float64{3, 1, 2}
	spread(values)
	if !slices.Equal(values, []float64{3, 1, 2}) {
		t.Errorf("the figures are now %v", values)
	}
}

func TestExponent(t *testing.T) {
	sizes := []float64{1000, 5000, 20000, 50000}
	for _, want := range []float64{-0.5, 0, 1, 1.7} {
		var values []float64
		for _, n := range sizes {
			values = append(values, 0.003*math.Pow(n, want))
		}
		if got, ok := exponent(sizes, values); !ok || math.Abs(got-want) > 1e-9 {
			t.Errorf("exponent = %v %v, want %v", got, ok, want)
		}
	}
	// Around the true one, the errors fall out.
	if got, _ := exponent([]float64{1, 10, 100}, []float64{1.1, 9, 110}); math.Abs(got-1) > 0.05 {
		t.Errorf("exponent = %v, want about 1", got)
	}
	for _, none := range [][2][]float64{{nil, nil}, {{10}, {1}}, {{10, 10}, {1, 2}}, {{10, 20}, {0, 1}}} {
		if got, ok := exponent(none[0], none[1]); ok {
			t.Errorf("exponent(%v) = %v, want none", none, got)
		}
	}
}

func samples(seconds ...float64) []Sample {
	var out []Sample
	for _, s := range seconds {
		out = append(out, Sample{Seconds: s})
	}
	return out
}

// The load of the machine was ten times as high in the second round: the ratio is
// the same in each.
func TestRatiosAreByRound(t *testing.T) {
	ours, base := &Series{Samples: samples(2, 20, 2)}, &Series{Samples: samples(1, 10, 1)}
	if got := ratios(ours, base, seconds); got != (Spread{2, 2, 2}) {
		t.Errorf("ratios = %v", got)
	}
	if got := ratios(ours, &Series{Samples: samples(0)}, seconds); got != (Spread{}) {
		t.Errorf("ratios to nothing = %v", got)
	}
}

// figures are of a run in which the plugin is twice as slow as the floor, and
// grows with the square of the size.
func figures() *Page {
	p := &Page{}
	r := Run{Benchmark: Inventory, Conditions: Conditions{Date: "2026-01-02T03:04:05Z", CPU: "a <cpu>", CPUs: 2,
		MemoryGiB: 8, System: "linux/amd64", Go: "go1", Kubernetes: "v1.36.3", Version: "v0.1.0"}}
	for size, took := range map[int]float64{100: 1, 1000: 100} {
		for _, noise := range []float64{1, 1.5, 1.25} {
			r.Add(Floor, size, Sample{Seconds: took * noise / 2, Requests: map[string]int{"list": 10}})
			r.Add(Castai, size, Sample{Seconds: took * noise, CPU: 0.5, MemoryMiB: 200,
				Requests: map[string]int{"list": 10, "get": 2}})
		}
	}
	slices.SortFunc(r.Series, func(a, b Series) int { return a.Size*10 + len(a.Way) - b.Size*10 - len(b.Way) })
	p.Put(r)
	r = Run{Benchmark: Stuck}
	r.Add(Documented, 0, Sample{Seconds: 200, Counts: map[string]int{"left": 114, "touched": 7, "given up": 2}})
	r.Add(Castai, 0, Sample{Seconds: 20, Counts: map[string]int{"left": 0, "touched": 0},
		Parts: map[string]float64{"Remove roles": 2}})
	p.Put(r)
	return p
}

func TestMarkdown(t *testing.T) {
	text, plots := figures().Markdown()
	for _, want := range []string{
		"| 1,000 | kubectl castai | 125.00 (100.00–150.00) | 2.00 | 0.50 | 200 | 12 | 10 |\n",
		"| 1,000 | floor | 62.50 (50.00–75.00) | 1 |  |  | 10 | 10 |\n",
		"| wall time, of the floor's | 1.5 | 2.00 | **missed** |\n",
		"| growth of wall time (exponent) | 1 | 2.00 | **missed** |\n",
		"| LIST requests, of the floor's | 1 | 1.00 | met |\n",
		"| kubectl castai | 2.00 | 0.00 |\n",
		"| documented commands | 200.00, by giving up | 1 |",
		"| objects left | 0 | 0 | met |\n",
		"| Remove roles | 2.00 |\n",
		"a <cpu>, 2 processors, 8 GiB",
		"![Inventory: wall time by size](benchmarks-inventory.svg)\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "## Restoring") {
		t.Error("the page shows what was not measured")
	}
	if len(plots) != 1 {
		t.Errorf("there are %d plots", len(plots))
	}
	again, _ := figures().Markdown()
	if again != text {
		t.Error("the same figures give another page")
	}
}

func TestPlot(t *testing.T) {
	_, plots := figures().Markdown()
	d := xml.NewDecoder(strings.NewReader(plots["benchmarks-inventory.svg"]))
	elements := map[string]int{}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok {
			elements[start.Name.Local]++
			for _, a := range start.Attr {
				if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
					t.Errorf("%s %s is %s", start.Name.Local, a.Name.Local, a.Value)
				}
			}
		}
	}
	if elements["polyline"] != 2 || elements["circle"] != 4 {
		t.Errorf("the plot has %v", elements)
	}
}

// Where all values are powers of ten, or the same, there is a frame all the same.
func TestPlotFrame(t *testing.T) {
	r := &Run{}
	for _, size := range []int{10, 100} {
		r.Add(Castai, size, Sample{Seconds: 10})
	}
	if svg := Benchmarks()[2].plot(r); svg == "" || strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
		t.Errorf("the plot is %q", svg)
	}
	r = &Run{}
	r.Add(Castai, 10, Sample{Seconds: 10})
	if svg := Benchmarks()[2].plot(r); svg != "" {
		t.Errorf("there is a plot of one size: %q", svg)
	}
}

func TestPutReplaces(t *testing.T) {
	p := figures()
	p.Put(Run{Benchmark: Inventory})
	if len(p.Runs) != 2 || len(p.Runs[0].Series) != 0 {
		t.Errorf("runs: %+v", p.Runs)
	}
}

func TestWriteAndRead(t *testing.T) {
	dir := t.TempDir()
	if p, err := Read(filepath.Join(dir, "benchmarks.json")); err != nil || len(p.Runs) != 0 {
		t.Errorf("of nothing: %+v %v", p, err)
	}
	if err := figures().Write(dir); err != nil {
		t.Fatal(err)
	}
	got, err := Read(filepath.Join(dir, "benchmarks.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, figures()) {
		t.Errorf("read %+v", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "bad.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(filepath.Join(dir, "bad.json")); err == nil {
		t.Error("a broken file is read")
	}
}

// The page that is checked in was written from the figures that are.
func TestPublished(t *testing.T) {
	const docs = "../../../docs"
	p, err := Read(filepath.Join(docs, "benchmarks.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Runs) != len(Benchmarks()) {
		t.Errorf("%d of %d benchmarks are published", len(p.Runs), len(Benchmarks()))
	}
	text, plots := p.Markdown()
	plots["benchmarks.md"] = text
	for name, want := range plots {
		got, err := os.ReadFile(filepath.Join(docs, name))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("docs/%s is out of date: go -C test run ./bench -only none", name)
		}
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 50000: "50,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %s, want %s", n, got, want)
		}
	}
}

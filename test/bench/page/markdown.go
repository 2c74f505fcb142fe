package page

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const head = `# Benchmarks

Written by ` + "`make bench`" +
	` from [benchmarks.json](benchmarks.json); [notes](benchmarks-notes.md) say what was found and done
about it. Everything runs against real control planes (etcd, kube-apiserver, kube-controller-manager) on one machine,
side by side in rounds: one round of each way after the other, then again.

**Compare ratios only.** The machine is small, does other things at the same time, and runs client and server on the
same processors. Each figure is the median of the rounds, with the least and the most in parentheses. A ratio is the
median of the ratios within each round. *CPU* is the processor time of the client alone. *peak memory* is that of its
largest process. *requests* are those of the client that the API server recorded in its audit log. An *exponent* e says
that a figure grows with its size n as nᵉ (least squares on logarithms): 1 is linear, 0 is constant.
`

// Markdown returns the page, and the plots that it shows by the names of their files.
func (p *Page) Markdown() (text string, plots map[string]string) {
	var b strings.Builder
	plots = map[string]string{}
	b.WriteString(head)
	for _, benchmark := range Benchmarks() {
		r := p.find(benchmark.Name)
		if r == nil {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", benchmark.Title, benchmark.Text)
		b.WriteString(benchmark.table(r))
		if chart := benchmark.plot(r); chart != "" {
			file := "benchmarks-" + benchmark.Name + ".svg"
			plots[file] = chart
			fmt.Fprintf(&b, "\n![%s: wall time by size](%s)\n", benchmark.Title, file)
		}
		b.WriteString(benchmark.parts(r))
		b.WriteString(benchmark.growths(r))
		b.WriteString(benchmark.targets(r))
		b.WriteString(r.Conditions.line())
		if benchmark.Base == Documented {
			fmt.Fprintf(&b, "A documented command that waits was given up after %.0f s.\n", r.Conditions.Limit)
		}
	}
	return b.String(), plots
}

// Write writes the page, its figures and its plots into a folder.
func (p *Page) Write(dir string) error {
	data, err := json.MarshalIndent(p, "", " ")
	if err != nil {
		return err
	}
	text, files := p.Markdown()
	files["benchmarks.md"], files["benchmarks.json"] = text, string(data)+"\n"
	for name, content := range files {
		//nolint:gosec // a page that everybody may read
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// table compares the ways, size by size.
func (b Benchmark) table(r *Run) string {
	titles := []string{"way", "wall time (s)"}
	if b.Sizes != "" {
		titles = append([]string{b.Sizes}, titles...)
	}
	compared := slices.ContainsFunc(r.Series, func(s Series) bool { return s.Way != b.Base })
	if compared {
		titles = append(titles, "ratio to "+b.Base)
	}
	for _, c := range b.Columns {
		titles = append(titles, c.title)
	}
	rows := [][]string{titles, slices.Repeat([]string{"---"}, len(titles))}
	for i := range r.Series {
		s := &r.Series[i]
		wall := show("%.2f", s.of(seconds))
		if slices.ContainsFunc(s.Samples, func(s Sample) bool { return s.Counts["given up"] > 0 }) {
			wall += ", by giving up"
		}
		row := []string{s.Way, wall}
		if b.Sizes != "" {
			row = append([]string{thousands(s.Size)}, row...)
		}
		if base := r.series(b.Base, s.Size); compared {
			row = append(row, b.compare(s, base))
		}
		for _, c := range b.Columns {
			if v := s.of(c.figure); v == (Spread{}) && !s.has(c) {
				row = append(row, "")
			} else {
				row = append(row, show(c.format, v))
			}
		}
		rows = append(rows, row)
	}
	var out strings.Builder
	for _, row := range rows {
		fmt.Fprintf(&out, "| %s |\n", strings.Join(row, " | "))
	}
	return out.String()
}

// compare returns the ratio to the base in a table.
func (b Benchmark) compare(s, base *Series) string {
	if base == nil || s == base {
		return "1"
	}
	return show("%.2f", ratios(s, base, seconds))
}

// has tells whether a figure that is 0 was measured.
func (s *Series) has(c column) bool {
	if len(s.Samples) == 0 {
		return false
	}
	switch c.title {
	case peak.title, processor.title:
		return false
	case left.title, touched.title:
		return s.Samples[0].Counts != nil
	}
	return len(s.Samples[0].Requests) > 0 && !strings.HasPrefix(c.title, Gone)
}

// parts lists how long the parts of the plugin's way took.
func (b Benchmark) parts(r *Run) string {
	s := r.series(Castai, r.largest())
	if s == nil || len(s.Samples) == 0 || len(s.Samples[0].Parts) == 0 {
		return ""
	}
	type row struct {
		name string
		took Spread
	}
	var rows []row
	rest := s.of(func(s Sample) float64 {
		left := s.Seconds
		for _, took := range s.Parts {
			left -= took
		}
		return left
	})
	for name := range s.Samples[0].Parts {
		rows = append(rows, row{name, s.of(part(name))})
	}
	slices.SortFunc(rows, func(a, b row) int {
		if a.took.Median != b.took.Median {
			if a.took.Median > b.took.Median {
				return -1
			}
			return 1
		}
		return strings.Compare(a.name, b.name)
	})
	rows = append(rows, row{"Look, plan, save, settle, look again", rest})
	var out strings.Builder
	out.WriteString("\n| where kubectl castai spends its time | s |\n| --- | --- |\n")
	for _, row := range rows {
		fmt.Fprintf(&out, "| %s | %s |\n", row.name, show("%.2f", row.took))
	}
	return out.String()
}

// growths lists the exponents of the figures that grow with the size.
func (b Benchmark) growths(r *Run) string {
	var ways, rows []string
	for _, s := range r.Series {
		if !slices.Contains(ways, s.Way) {
			ways = append(ways, s.Way)
		}
	}
	for _, way := range ways {
		wall, ok := growth(way, seconds)(r)
		if !ok {
			continue
		}
		row := fmt.Sprintf("| %s | %.2f |", way, wall)
		if e, ok := growth(way, memory)(r); ok {
			row += fmt.Sprintf(" %.2f |", e)
		} else {
			row += " |"
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return ""
	}
	return "\n| exponent | wall time | peak memory |\n| --- | --- | --- |\n" + strings.Join(rows, "\n") + "\n"
}

// targets compares what came out with what must.
func (b Benchmark) targets(r *Run) string {
	var rows []string
	for _, t := range b.Targets {
		value, ok := t.measure(r)
		if !ok {
			continue
		}
		met := "met"
		if value > t.most {
			met = "**missed**"
		}
		rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s |", t.text, trimZeros(t.most), fmt.Sprintf(t.format, value),
			met))
	}
	if len(rows) == 0 {
		return ""
	}
	title := "target"
	if b.Sizes != "" {
		title = fmt.Sprintf("target at %s %s", thousands(r.largest()), b.Sizes)
	}
	return fmt.Sprintf("\n| %s | at most | measured | |\n| --- | --- | --- | --- |\n%s\n", title, strings.Join(rows, "\n"))
}

// line says under which conditions a benchmark ran.
func (c Conditions) line() string {
	return fmt.Sprintf("\nMeasured %s: %s, %d processors, %.0f GiB, %s, %s, Kubernetes %s, kubectl castai %s; load %.1f at the start, %.1f at the end.\n",
		c.Date, c.CPU, c.CPUs, c.MemoryGiB, c.System, c.Go, c.Kubernetes, c.Version, c.LoadBefore, c.LoadAfter)
}

// show prints a median with its spread, if there is one.
func show(format string, s Spread) string {
	median, least, most := fmt.Sprintf(format, s.Median), fmt.Sprintf(format, s.Min), fmt.Sprintf(format, s.Max)
	if least == most {
		return median
	}
	return fmt.Sprintf("%s (%s–%s)", median, least, most)
}

// trimZeros prints a bound as a person would write it.
func trimZeros(v float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", v), "0"), ".")
}

// thousands groups the digits of a number.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

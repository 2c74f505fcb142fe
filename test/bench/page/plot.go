package page

import (
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Size of a plot and of the frame in it, in pixels.
const (
	plotWidth, plotHeight    = 720, 380
	frameLeft, frameRight    = 70, 540
	frameTop, frameBottom    = 20, 330
	legendLeft, legendHeight = 556, 22
)

// style follows the reader's preference for light or dark.
const style = `<style>
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .frame { stroke: #d1d9e0; fill: none }
  .s0 { stroke: #0969da; fill: #0969da } .s1 { stroke: #bc4c00; fill: #bc4c00 } .s2 { stroke: #8250df; fill: #8250df }
  .line { fill: none; stroke-width: 2 } .spread { stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .frame { stroke: #3d444d }
    .s0 { stroke: #4493f8; fill: #4493f8 } .s1 { stroke: #f0883e; fill: #f0883e } .s2 { stroke: #ab7df8; fill: #ab7df8 }
    .line { fill: none }
  }
</style>
`

// axis maps values to pixels by their logarithms.
type axis struct{ least, most, from, to float64 }

func (a axis) at(v float64) float64 {
	return a.from + (math.Log(v)-math.Log(a.least))/(math.Log(a.most)-math.Log(a.least))*(a.to-a.from)
}

// plot draws wall time by size, both logarithmic, with the spread of each point.
// With fewer than two sizes there is nothing to draw.
func (b Benchmark) plot(r *Run) string {
	var ways []string
	var sizes, times []float64
	for i := range r.Series {
		s := &r.Series[i]
		if took := s.of(seconds); s.Size > 0 && took.Min > 0 {
			if !slices.Contains(ways, s.Way) {
				ways = append(ways, s.Way)
			}
			sizes = append(sizes, float64(s.Size))
			times = append(times, took.Min, took.Max)
		}
	}
	if len(sizes) == 0 || slices.Min(sizes) == slices.Max(sizes) {
		return ""
	}
	x := axis{slices.Min(sizes), slices.Max(sizes), frameLeft + 20, frameRight - 20}
	y := axis{floor10(slices.Min(times)), ceil10(slices.Max(times)), frameBottom, frameTop}

	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img">`+"\n<title>%s</title>\n%s",
		plotWidth, plotHeight, escape(b.Title+": wall time by size"), style)
	for v := y.least; v < y.most*1.01; v *= 10 {
		fmt.Fprintf(&out, `<path class="frame" d="M%d %.1fH%d"/><text x="%d" y="%.1f" text-anchor="end">%s s</text>`+"\n",
			frameLeft, y.at(v), frameRight, frameLeft-8, y.at(v)+4, trimZeros(v))
	}
	slices.Sort(sizes)
	for _, v := range slices.Compact(sizes) {
		fmt.Fprintf(&out, `<path class="frame" d="M%.1f %dV%d"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x.at(v), frameTop, frameBottom, x.at(v), frameBottom+18, thousands(int(v)))
	}
	fmt.Fprintf(&out, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", (frameLeft+frameRight)/2, plotHeight-8,
		escape(b.Sizes))
	for i, way := range ways {
		var points []string
		for j := range r.Series {
			s := &r.Series[j]
			took := s.of(seconds)
			if s.Way != way || s.Size <= 0 || took.Min <= 0 {
				continue
			}
			at := x.at(float64(s.Size))
			points = append(points, fmt.Sprintf("%.1f,%.1f", at, y.at(took.Median)))
			fmt.Fprintf(&out, `<path class="spread s%d" d="M%.1f %.1fV%.1f"/><circle class="s%d" cx="%.1f" cy="%.1f" r="3.5"/>`+
				"\n", i%3, at, y.at(took.Min), y.at(took.Max), i%3, at, y.at(took.Median))
		}
		fmt.Fprintf(&out, `<polyline class="s%d line" points="%s"/>`+"\n", i%3, strings.Join(points, " "))
		top := frameTop + 10 + i*legendHeight
		fmt.Fprintf(&out, `<path class="s%d line" d="M%d %dh18"/><text x="%d" y="%d">%s</text>`+"\n", i%3, legendLeft, top,
			legendLeft+24, top+4, escape(way))
	}
	out.WriteString("</svg>\n")
	return out.String()
}

// floor10 and ceil10 are the powers of ten around a value.
func floor10(v float64) float64 { return math.Pow(10, math.Floor(math.Log10(v))) }
func ceil10(v float64) float64  { return math.Pow(10, math.Ceil(math.Log10(v)*(1+1e-12)+1e-12)) }

func escape(text string) string {
	var b strings.Builder
	// Writing into a Builder can't fail.
	_ = xml.EscapeText(&b, []byte(text))
	return b.String()
}

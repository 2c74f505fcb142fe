package page

import (
	"math"
	"slices"
)

// Spread is the median of some figures, and the least and the most of them.
type Spread struct{ Median, Min, Max float64 }

// spread sums figures up; of none, all is 0.
func spread(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	mid := len(sorted) / 2
	median := sorted[mid]
	if len(sorted)%2 == 0 {
		median = (sorted[mid-1] + sorted[mid]) / 2
	}
	return Spread{Median: median, Min: sorted[0], Max: sorted[len(sorted)-1]}
}

// of returns the spread of a figure over the samples of a series.
func (s *Series) of(figure func(Sample) float64) Spread {
	values := make([]float64, 0, len(s.Samples))
	for _, sample := range s.Samples {
		values = append(values, figure(sample))
	}
	return spread(values)
}

// ratios returns the spread of the ratios of two series, round by round: a load
// that changes between rounds falls out.
func ratios(of, to *Series, figure func(Sample) float64) Spread {
	var values []float64
	for i := range min(len(of.Samples), len(to.Samples)) {
		if base := figure(to.Samples[i]); base > 0 {
			values = append(values, figure(of.Samples[i])/base)
		}
	}
	return spread(values)
}

// exponent fits values = c * sizes^e by least squares on the logarithms, and
// returns e. Without two different sizes there is none.
func exponent(sizes, values []float64) (e float64, ok bool) {
	var n, sx, sy, sxx, sxy float64
	for i := range sizes {
		if sizes[i] <= 0 || values[i] <= 0 {
			continue
		}
		x, y := math.Log(sizes[i]), math.Log(values[i])
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	d := n*sxx - sx*sx
	if n < 2 || d < 1e-12 {
		return 0, false
	}
	return (n*sxy - sx*sy) / d, true
}

func seconds(s Sample) float64 { return s.Seconds }
func memory(s Sample) float64  { return s.MemoryMiB }
func cpu(s Sample) float64     { return s.CPU }

// requests counts those of one verb, or of all.
func requests(verb string) func(Sample) float64 {
	return func(s Sample) float64 {
		n := 0
		for v, count := range s.Requests {
			if verb == "" || v == verb {
				n += count
			}
		}
		return float64(n)
	}
}

func counted(what string) func(Sample) float64 {
	return func(s Sample) float64 { return float64(s.Counts[what]) }
}

func part(name string) func(Sample) float64 {
	return func(s Sample) float64 { return s.Parts[name] }
}

package hibernate

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// What --accept takes to go on with a schedule.
const (
	// ReversedSchedule: the cluster is asleep at noon on every working day.
	ReversedSchedule = "reversed-schedule"
	// LongSleep: it sleeps for more than a week at a time.
	LongSleep = "long-sleep"
	// OverlappingPairs: one pair wakes the cluster while another one has it sleep.
	OverlappingPairs = "overlapping-pairs"
)

// ScheduleRefusals are those that --accept takes.
func ScheduleRefusals() []string { return []string{ReversedSchedule, LongSleep, OverlappingPairs} }

const (
	forecastDays = 28
	week         = 7 * 24 * time.Hour
)

// Forecast is what a schedule makes of four weeks from its first pause on, by the
// clock of its zone: where summer time begins or ends in them, their nights are an
// hour shorter or longer.
type Forecast struct {
	// Asleep is the part of the time that the cluster sleeps, in percent.
	Asleep int `json:"asleepPercent"`
	// Longest is the longest time that it sleeps without a break; Hours is its length.
	Longest Stretch `json:"longest"`
	Hours   float64 `json:"longestHours"`
	// WorkingDays counts the days from Monday to Friday, and NoonsAsleep those of them
	// on which it sleeps at noon.
	WorkingDays int `json:"workingDays"`
	NoonsAsleep int `json:"workingDaysAsleepAtNoon"`

	stretches []Stretch
}

// Stretch is a time that a cluster sleeps through.
type Stretch struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

func (s Stretch) length() time.Duration { return s.To.Sub(s.From) }

// Forecast simulates the schedule from its first pause after now on.
func (s Schedule) Forecast(now time.Time) (*Forecast, error) {
	p, err := s.parse()
	if err != nil {
		return nil, err
	}
	f := p.forecast(now)
	return &f, nil
}

// forecast walks from pause to resume: a pause of a cluster that sleeps does
// nothing, nor does a resume of one that is awake.
func (p parsed) forecast(now time.Time) (f Forecast) {
	first := p.pause.Next(now.In(p.zone))
	if first.IsZero() {
		return f
	}
	end := first.AddDate(0, 0, forecastDays)
	var asleep time.Duration
	for from := first; !from.IsZero() && from.Before(end); {
		to := p.resume.Next(from)
		if to.IsZero() { // it never comes: validation has refused it
			break
		}
		s := Stretch{from, to}
		f.stretches = append(f.stretches, s)
		if s.length() > f.Longest.length() {
			f.Longest = s
		}
		asleep += min(s.length(), end.Sub(from))
		from = p.pause.Next(to)
	}
	f.Asleep = int(math.Round(100 * float64(asleep) / float64(end.Sub(first))))
	f.Hours = math.Round(f.Longest.length().Hours()*10) / 10
	for noon := time.Date(first.Year(), first.Month(), first.Day(), 12, 0, 0, 0,
		p.zone); noon.Before(end); noon = noon.AddDate(0, 0, 1) {
		if noon.Before(first) || noon.Weekday() == time.Saturday || noon.Weekday() == time.Sunday {
			continue
		}
		f.WorkingDays++
		if slices.ContainsFunc(f.stretches, func(s Stretch) bool { return !s.From.After(noon) && s.To.After(noon) }) {
			f.NoonsAsleep++
		}
	}
	return f
}

// String says it in a sentence, without a full stop.
func (f Forecast) String() string {
	const at = "Mon 15:04"
	from, to := f.Longest.From.Format(at), f.Longest.To.Format(at)
	if f.Longest.length() > week {
		const on = "2 Jan 2006 15:04"
		from, to = f.Longest.From.Format(on), f.Longest.To.Format(on)
	}
	return fmt.Sprintf("asleep %d %% of the week, longest stretch %g h (%s to %s)", f.Asleep, f.Hours, from, to)
}

// accept refuses what hardly anybody means, unless the user does.
func (f Forecast) accept(accepted []string) error {
	switch {
	case f.Longest.length() > week:
		if !slices.Contains(accepted, LongSleep) {
			return fmt.Errorf("the cluster would sleep for %.0f days without a break (%s to %s), more than a week: do the two schedules belong together? If that is meant, pass --accept=%s",
				f.Longest.length().Hours()/24, f.Longest.From.Format(LocalTime), f.Longest.To.Format(LocalTime), LongSleep)
		}
	case f.WorkingDays > 0 && f.NoonsAsleep == f.WorkingDays && !slices.Contains(accepted, ReversedSchedule):
		return fmt.Errorf("the cluster would sleep at noon on every working day (%s): are the two schedules the wrong way round? If that is meant, pass --accept=%s", f, ReversedSchedule)
	}
	return nil
}

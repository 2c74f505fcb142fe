package hibernate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // zones are known where the machine has none: Windows, small images

	"github.com/robfig/cron/v3"
)

// Defaults of a schedule (HC values.yaml, HB deploy.yaml).
const (
	DefaultPause    = "0 22 * * 1-5"
	DefaultResume   = "0 7 * * 1-5"
	DefaultTimeZone = "Etc/UTC"
)

// ReversedSchedule is what --accept takes to go on with a schedule that puts the
// cluster to sleep by day.
const ReversedSchedule = "reversed-schedule"

const (
	apart   = 30 * time.Minute       // what a pause or a resume may take
	horizon = 5 * 7 * 24 * time.Hour // of a schedule that is looked at: weekly ones repeat in it
)

// Schedule is when a cluster pauses and resumes.
type Schedule struct {
	Pause  string `json:"pause"`
	Resume string `json:"resume"`
	// TimeZone is a name of the tz database; empty is the zone of the controller
	// manager, which nobody outside knows.
	TimeZone string `json:"timeZone,omitempty"`
}

// Times are the next ones of a schedule; what is suspended has none.
type Times struct {
	Pause  time.Time `json:"pause,omitzero"`
	Resume time.Time `json:"resume,omitzero"`
}

// parsed is a schedule that can be asked for times.
type parsed struct {
	pause, resume cron.Schedule
	zone          *time.Location
}

// parse reads both expressions and the zone as the CronJob controller does
// (k8s.io/kubernetes v1.36.3 pkg/apis/batch/validation).
func (s Schedule) parse() (p parsed, err error) {
	// time.LoadLocation takes Local for the zone of this machine, and the server
	// refuses it.
	if strings.EqualFold(s.TimeZone, "local") {
		return p, fmt.Errorf("the time zone %q means another one on each machine: name one of the tz database, such as Europe/Vilnius", s.TimeZone)
	}
	if p.zone, err = time.LoadLocation(s.TimeZone); err != nil {
		return p, fmt.Errorf("the time zone %q is unknown: name one of the tz database, such as Europe/Vilnius", s.TimeZone)
	}
	if p.pause, err = parseCron("pause", s.Pause); err != nil {
		return p, err
	}
	p.resume, err = parseCron("resume", s.Resume)
	return p, err
}

func parseCron(name, expression string) (cron.Schedule, error) {
	// robfig/cron v3.0.1 would take a zone here and panics on a bad one; the
	// server refuses it beside timeZone.
	if strings.Contains(expression, "TZ") {
		return nil, fmt.Errorf("the %s schedule %q names a zone: that belongs in the time zone", name, expression)
	}
	s, err := cron.ParseStandard(expression)
	if err != nil {
		return nil, fmt.Errorf("the %s schedule %q is not one that a CronJob takes: %w", name, expression, err)
	}
	if strings.HasPrefix(expression, "@every") {
		return nil, fmt.Errorf("the %s schedule %q has no time of day: write one such as %q", name, expression, DefaultPause)
	}
	return s, nil
}

// Next returns the times of the first pause and the first resume after now, in
// the schedule's zone.
func (s Schedule) Next(now time.Time) (pause, resume time.Time, err error) {
	p, err := s.parse()
	if err != nil {
		return pause, resume, err
	}
	now = now.In(p.zone)
	return p.pause.Next(now), p.resume.Next(now), nil
}

// NextTimes returns the next times of what is not suspended.
func (in *Installation) NextTimes(now time.Time) (*Times, error) {
	pause, resume, err := in.Configuration.Next(now)
	if err != nil {
		return nil, err
	}
	t := &Times{Pause: pause, Resume: resume}
	if in.Suspended.Pause {
		t.Pause = time.Time{}
	}
	if in.Suspended.Resume {
		t.Resume = time.Time{}
	}
	return t, nil
}

// Validate checks that the schedule can be carried out and makes sense from now
// on. accepted are the names of the refusals that the user goes on against.
func (s Schedule) Validate(now time.Time, accepted []string) error {
	p, err := s.parse()
	if err != nil {
		return err
	}
	now = now.In(p.zone)
	for name, c := range map[string]cron.Schedule{"pause": p.pause, "resume": p.resume} {
		if c.Next(now).IsZero() {
			return fmt.Errorf("the %s schedule never comes: %q, %q", name, s.Pause, s.Resume)
		}
	}
	events := p.events(now)
	for i, e := range events[1:] {
		if before := events[i]; e.pause != before.pause && e.at.Sub(before.at) < apart {
			return fmt.Errorf("the schedules overlap: %s comes %s after %s (%s), which may still be running: leave %s between them",
				e.name(), e.at.Sub(before.at), before.name(), before.at.Format("Mon 15:04"), apart)
		}
	}
	if sleepsByDay(events) && !slices.Contains(accepted, ReversedSchedule) {
		return errors.New("the cluster would sleep at noon on every working day and be awake at other times: are the two schedules the wrong way round? If that is meant, pass --accept=" + ReversedSchedule)
	}
	return nil
}

// event is one pause or resume.
type event struct {
	at    time.Time
	pause bool
}

func (e event) name() string {
	if e.pause {
		return "a pause"
	}
	return "a resume"
}

// events returns what happens within the horizon, in order. A schedule that fires
// more often than it could be carried out is cut short: it overlaps anyway.
func (p parsed) events(now time.Time) []event {
	var out []event
	for pause, c := range map[bool]cron.Schedule{true: p.pause, false: p.resume} {
		last := now.Add(horizon)
		n := 0
		for at := c.Next(now); !at.IsZero() && (at.Before(last) || n == 0) && n < int(horizon/apart); at = c.Next(at) {
			out = append(out, event{at, pause})
			n++
		}
	}
	slices.SortFunc(out, func(a, b event) int { return a.at.Compare(b.at) })
	return out
}

// sleepsByDay tells whether the cluster is asleep at noon on each Monday to Friday
// between the first event and the last, although it is awake in between.
func sleepsByDay(events []event) bool {
	asleep, i, noons, sleeps := false, 0, 0, 0
	first := events[0].at
	last := events[len(events)-1].at
	for noon := time.Date(first.Year(), first.Month(), first.Day(), 12, 0, 0, 0, first.Location()); noon.Before(last); noon = noon.AddDate(0, 0, 1) {
		for ; i < len(events) && !events[i].at.After(noon); i++ {
			if events[i].pause && !asleep {
				sleeps++
			}
			asleep = events[i].pause
		}
		if i == 0 || noon.Weekday() == time.Saturday || noon.Weekday() == time.Sunday {
			continue
		}
		if !asleep {
			return false
		}
		noons++
	}
	return noons > 0 && sleeps > 1
}

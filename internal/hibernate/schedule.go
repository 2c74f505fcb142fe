package hibernate

import (
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // zones are known where the machine has none: Windows, small images

	"github.com/robfig/cron/v3"
	"k8s.io/apimachinery/pkg/util/version"
)

// Defaults of a schedule (HC values.yaml, HB deploy.yaml).
const (
	DefaultPause    = "0 22 * * 1-5"
	DefaultResume   = "0 7 * * 1-5"
	DefaultTimeZone = "Etc/UTC"
)

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

// TakenBy is an error if a server of that version does not know the time zone of
// CronJobs, which is there from Kubernetes 1.25 on (KEP 3140): an older one drops the
// field without a word, and the cluster pauses at another time.
func (s Schedule) TakenBy(server string) error {
	v, err := version.ParseGeneric(server)
	if old := err == nil && v.LessThan(version.MustParseGeneric("1.25")); !old || s.TimeZone == "" {
		return nil
	}
	return fmt.Errorf("this server (Kubernetes %s) does not know the time zone of CronJobs, which is there from 1.25 on: pass --time-zone= and write the schedules in the zone of its controller manager, which is UTC on most", server)
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
	return p.forecast(now).accept(accepted)
}

// event is one pause or resume.
type event struct {
	at    time.Time
	pause bool
	// pair is the name of the one that it is of.
	pair string
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
	now = now.In(p.zone) // whose clock the schedules go by
	return slices.SortedFunc(slices.Values(append(times(p.pause, now, true), times(p.resume, now, false)...)), earlier)
}

func earlier(a, b event) int { return a.at.Compare(b.at) }

func times(c cron.Schedule, now time.Time, pause bool) []event {
	var out []event
	last := now.Add(horizon)
	for at := c.Next(now); !at.IsZero() && (at.Before(last) || len(out) == 0) &&
		len(out) < int(horizon/apart); at = c.Next(at) {
		out = append(out, event{at: at, pause: pause})
	}
	return out
}

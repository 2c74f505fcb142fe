package hibernate

import (
	"strings"
	"testing"
	"time"
)

func TestScheduleValidate(t *testing.T) {
	now := time.Date(2026, 3, 4, 15, 0, 0, 0, time.UTC) // a Wednesday
	for _, tc := range []struct {
		name                string
		pause, resume, zone string
		accept              string
		want                string // part of the refusal; empty: accepted
	}{
		{name: "defaults", pause: DefaultPause, resume: DefaultResume, zone: DefaultTimeZone},
		{name: "a zone with summer time", pause: DefaultPause, resume: DefaultResume, zone: "Europe/Vilnius"},
		{name: "the zone of the controller manager", pause: DefaultPause, resume: DefaultResume},
		{name: "weekends", pause: "0 20 * * 5", resume: "0 6 * * 1", zone: "America/New_York"},
		{name: "every night, but not woken at weekends", pause: "0 22 * * *", resume: "0 7 * * 1-5", zone: "Asia/Kolkata"},
		{name: "once a year", pause: "0 0 24 12 *", resume: "0 0 2 1 *", zone: "UTC"},
		{name: "descriptors", pause: "@daily", resume: "0 7 * * *", zone: "UTC"},
		{name: "no cron", pause: "at ten", resume: DefaultResume, want: `the pause schedule "at ten" is not one`},
		{name: "seconds", pause: DefaultPause, resume: "0 0 7 * * 1-5", want: `the resume schedule "0 0 7 * * 1-5" is not one`},
		{name: "empty", resume: DefaultResume, want: `the pause schedule ""`},
		{name: "hour 25", pause: "0 25 * * *", resume: DefaultResume, want: "end of range (25)"},
		{name: "a zone in the expression", pause: "CRON_TZ=UTC 0 22 * * *", resume: DefaultResume, want: "names a zone"},
		{name: "what makes the parser panic", pause: "TZ=0", resume: DefaultResume, want: "names a zone"},
		{name: "an interval", pause: "@every 8h", resume: DefaultResume, want: "no time of day"},
		{name: "never", pause: "0 0 30 2 *", resume: DefaultResume, zone: "UTC", want: "the pause schedule never comes"},
		{name: "an unknown zone", pause: DefaultPause, resume: DefaultResume, zone: "Europe/Vilna", want: `"Europe/Vilna" is unknown`},
		{name: "the zone of this machine", pause: DefaultPause, resume: DefaultResume, zone: "Local", want: `"Local" means another one`},
		{name: "a path", pause: DefaultPause, resume: DefaultResume, zone: "../../etc/passwd", want: "is unknown"},
		{name: "at once", pause: "0 7 * * *", resume: "0 7 * * *", zone: "UTC", want: "the schedules overlap"},
		{name: "too close", pause: "0 22 * * *", resume: "10 22 * * *", zone: "UTC", want: "a resume comes 10m0s after a pause"},
		{name: "at once on one day of the week", pause: "0 22 * * *", resume: "0 22 * * 5", zone: "UTC", want: "the schedules overlap"},
		{name: "all the time", pause: "* * * * *", resume: DefaultResume, zone: "UTC", want: "the schedules overlap"},
		{name: "reversed", pause: "0 7 * * 1-5", resume: "0 22 * * 1-5", zone: "UTC", want: "--accept=reversed-schedule"},
		{name: "reversed and meant", pause: "0 7 * * 1-5", resume: "0 22 * * 1-5", zone: "UTC", accept: ReversedSchedule},
		{name: "asleep at noon, but not every day", pause: "0 11 * * 1", resume: "0 7 * * 2", zone: "UTC"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := Schedule{tc.pause, tc.resume, tc.zone}.Validate(now, []string{tc.accept})
			switch {
			case tc.want == "" && err != nil:
				t.Error(err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestScheduleNext(t *testing.T) {
	// Summer time begins in Vilnius on 29 March 2026, a Sunday.
	now := time.Date(2026, 3, 27, 20, 30, 0, 0, time.UTC) // Friday, 22:30 there
	pause, resume, err := Schedule{DefaultPause, DefaultResume, "Europe/Vilnius"}.Next(now)
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2026, 3, 30, 19, 0, 0, 0, time.UTC); !pause.Equal(want) {
		t.Errorf("pause at %s, want %s", pause, want)
	}
	if want := time.Date(2026, 3, 30, 4, 0, 0, 0, time.UTC); !resume.Equal(want) {
		t.Errorf("resume at %s, want %s", resume, want)
	}
}

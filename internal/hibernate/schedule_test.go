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
		{name: "once a year", pause: "0 0 24 12 *", resume: "0 0 2 1 *", zone: "UTC", want: "sleep for 9 days"},
		{name: "once a year and meant", pause: "0 0 24 12 *", resume: "0 0 2 1 *", zone: "UTC", accept: LongSleep},
		{name: "every evening, with a resume in January", pause: "0 22 * * *", resume: "0 7 2 1 *", zone: "UTC",
			want: "--accept=long-sleep"},
		{name: "a season that is meant", pause: "0 0 1 12 *", resume: "0 0 1 3 *", zone: "UTC", accept: LongSleep},
		{name: "awake for an hour a week", pause: "0 8 * * 1", resume: "0 7 * * 1", zone: "UTC",
			want: "asleep 99 % of the week, longest stretch 167 h (Mon 08:00 to Mon 07:00)"},
		{name: "awake at weekends only", pause: "0 0 * * 1", resume: "0 0 * * 6", zone: "UTC", want: "on every working day"},
		{name: "descriptors", pause: "@daily", resume: "0 7 * * *", zone: "UTC"},
		{name: "no cron", pause: "at ten", resume: DefaultResume, want: `the pause schedule "at ten" is not one`},
		{name: "seconds", pause: DefaultPause, resume: "0 0 7 * * 1-5",
			want: `the resume schedule "0 0 7 * * 1-5" is not one`},
		{name: "empty", resume: DefaultResume, want: `the pause schedule ""`},
		{name: "hour 25", pause: "0 25 * * *", resume: DefaultResume, want: "end of range (25)"},
		{name: "a zone in the expression", pause: "CRON_TZ=UTC 0 22 * * *", resume: DefaultResume, want: "names a zone"},
		{name: "what makes the parser panic", pause: "TZ=0", resume: DefaultResume, want: "names a zone"},
		{name: "an interval", pause: "@every 8h", resume: DefaultResume, want: "no time of day"},
		{name: "never", pause: "0 0 30 2 *", resume: DefaultResume, zone: "UTC", want: "the pause schedule never comes"},
		{name: "an unknown zone", pause: DefaultPause, resume: DefaultResume, zone: "Europe/Vilna",
			want: `"Europe/Vilna" is unknown`},
		{name: "the zone of this machine", pause: DefaultPause, resume: DefaultResume, zone: "Local",
			want: `"Local" means another one`},
		{name: "a path", pause: DefaultPause, resume: DefaultResume, zone: "../../etc/passwd", want: "is unknown"},
		{name: "at once", pause: "0 7 * * *", resume: "0 7 * * *", zone: "UTC", want: "the schedules overlap"},
		{name: "too close", pause: "0 22 * * *", resume: "10 22 * * *", zone: "UTC",
			want: "a resume comes 10m0s after a pause"},
		{name: "at once on one day of the week", pause: "0 22 * * *", resume: "0 22 * * 5", zone: "UTC",
			want: "the schedules overlap"},
		{name: "all the time", pause: "* * * * *", resume: DefaultResume, zone: "UTC", want: "the schedules overlap"},
		{name: "reversed", pause: "0 7 * * 1-5", resume: "0 22 * * 1-5", zone: "UTC", want: "--accept=reversed-schedule"},
		{name: "reversed and meant", pause: "0 7 * * 1-5", resume: "0 22 * * 1-5", zone: "UTC", accept: ReversedSchedule},
		{name: "reversed, and a long sleep was meant", pause: "0 7 * * 1-5", resume: "0 22 * * 1-5", zone: "UTC",
			accept: LongSleep, want: "--accept=reversed-schedule"},
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

// Four weeks from the first pause on, whenever one asks, in the schedule's zone.
func TestForecast(t *testing.T) {
	wednesday := time.Date(2026, 6, 3, 15, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name     string
		schedule Schedule
		now      time.Time
		want     string
	}{
		{"working days", Schedule{DefaultPause, DefaultResume, "Europe/Vilnius"}, wednesday,
			"asleep 55 % of the week, longest stretch 57 h (Fri 22:00 to Mon 07:00)"},
		{"asked on a Saturday", Schedule{DefaultPause, DefaultResume, "Europe/Vilnius"}, wednesday.AddDate(0, 0, 3),
			"asleep 55 % of the week, longest stretch 57 h (Fri 22:00 to Mon 07:00)"},
		{"early evenings", Schedule{"0 19 * * 1-5", "0 8 * * 1-5", "UTC"}, wednesday,
			"asleep 67 % of the week, longest stretch 61 h (Fri 19:00 to Mon 08:00)"},
		{"weekends", Schedule{"0 20 * * 5", "0 6 * * 1", "America/New_York"}, wednesday,
			"asleep 35 % of the week, longest stretch 58 h (Fri 20:00 to Mon 06:00)"},
		{"lunch", Schedule{"0 12 * * *", "30 12 * * *", "Asia/Kolkata"}, wednesday,
			"asleep 2 % of the week, longest stretch 0.5 h (Thu 12:00 to Thu 12:30)"},
		// Summer time ends on 25 October 2026 in Vilnius, a Sunday: that night is longer.
		{"summer time ends", Schedule{DefaultPause, DefaultResume, "Europe/Vilnius"},
			time.Date(2026, 10, 14, 12, 0, 0, 0,
				time.UTC), "asleep 55 % of the week, longest stretch 58 h (Fri 22:00 to Mon 07:00)"},
		// 02:30 is not there on 29 March 2026 in Berlin: nothing wakes the cluster that day.
		{"a resume that a night does not have", Schedule{"0 22 * * *", "30 2 * * *", "Europe/Berlin"},
			time.Date(2026, 3, 20, 12, 0, 0, 0,
				time.UTC), "asleep 22 % of the week, longest stretch 27.5 h (Sat 22:00 to Mon 02:30)"},
		{"further than four weeks", Schedule{"0 22 * * *", "0 7 2 1 *", "UTC"}, wednesday,
			"asleep 100 % of the week, longest stretch 5097 h (3 Jun 2026 22:00 to 2 Jan 2027 07:00)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := tc.schedule.Forecast(tc.now)
			if err != nil {
				t.Fatal(err)
			}
			if f.String() != tc.want {
				t.Errorf("got  %s\nwant %s", f, tc.want)
			}
		})
	}
}

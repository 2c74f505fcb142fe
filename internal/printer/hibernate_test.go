package printer

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/internal/hibernate"
	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Without a zone the schedules are by a clock that nobody knows here.
func TestNextTimesInAPlan(t *testing.T) {
	for zone, known := range map[string]bool{"": false, "Europe/Vilnius": true} {
		var out bytes.Buffer
		c := hibernate.Configuration{Schedule: hibernate.Schedule{Pause: hibernate.DefaultPause,
			Resume: hibernate.DefaultResume, TimeZone: zone}}
		NewText(&out).InstallPlan(cluster.Server{}, c, nil, nil, time.Now())
		said := out.String()
		if strings.Contains(said, "Next pause") != known || strings.Contains(said, "UTC") && !known ||
			strings.Contains(said, "controller manager") == known || !strings.Contains(said, "asleep") {
			t.Errorf("zone %q: %s", zone, said)
		}
	}
}

package hibernate

import (
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// What can't be seen is not what is not there.
func TestReadInstallationOfWhatCannotBeSeen(t *testing.T) {
	for _, kind := range []string{"cronjobs.batch", "jobs.batch"} {
		snap := &cluster.Snapshot{Unreadable: []cluster.Unreadable{{What: kind, Message: "forbidden", Forbidden: true}}}
		if _, err := ReadInstallation(snap, Namespace); err == nil || !strings.Contains(err.Error(), kind+" can't be read") {
			t.Errorf("%s: %v", kind, err)
		}
	}
	other := &cluster.Snapshot{Unreadable: []cluster.Unreadable{{What: "widgets.example.com", Message: "forbidden"}}}
	if _, err := ReadInstallation(other, Namespace); err != nil {
		t.Error(err)
	}
}

package hibernate

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// The keys of the state ConfigMap. The first two are of Cast AI's job, which takes
// a status other than success for an unfinished run, for twelve hours (HB
// app/k8s_utils.py).
const (
	keyStatus     = "last_run_status"
	keyTime       = "last_run_time"
	keyJournal    = "journal"
	statusSuccess = "success"
	statusFailed  = "exception"
	// vendorTime is the form in which Cast AI's job reads a time, in UTC.
	vendorTime = "2006-01-02T15:04:05"
)

// PhaseAnnotation on the state ConfigMap says which phase the journal is in, for
// those who read metadata only.
const PhaseAnnotation = "castai.kubectl.dev/hibernation"

// Phase is what a cluster is at.
type Phase string

// The phases.
const (
	Awake    Phase = "awake"
	Pausing  Phase = "pausing"
	Paused   Phase = "paused"
	Resuming Phase = "resuming"
)

// Journal is what runs write down before they do it, so that the next run knows
// what a killed one may have done. What was done to an object, its own annotation
// (mark) says.
type Journal struct {
	// Run identifies the pause that it is about.
	Run   string `json:"run"`
	Phase Phase  `json:"phase"`
	// By is who paused or resumed last, and Since when.
	By    string    `json:"by"`
	Since time.Time `json:"since"`
	// Policies is what the autoscaler was before the pause.
	Policies *Policies `json:"policies,omitempty"`
	// Node is the one that the cluster sleeps on.
	Node *SleepNode `json:"node,omitempty"`
	// Remove are the nodes that were to be removed, and Tolerate the workloads
	// that were to get the toleration.
	Remove   []string `json:"remove,omitempty"`
	Tolerate []string `json:"tolerate,omitempty"`
	// Unready are the workloads that had to run through the pause and did not run
	// before it.
	Unready []string `json:"unready,omitempty"`
	// Unschedulable counts the pods that no node had room for before the pause.
	Unschedulable int `json:"unschedulable,omitempty"`
	// Error says why the last run did not finish.
	Error string `json:"error,omitempty"`
}

// Policies is the autoscaler before a pause.
type Policies struct {
	// Switch is the one that the pause turns off: SwitchAll or SwitchUnschedulable.
	Switch string `json:"switch"`
	// Enabled is where it stood.
	Enabled bool `json:"enabled"`
	// Original is all of the policies, as a record.
	Original json.RawMessage `json:"original,omitempty"`
}

// SleepNode is the hibernation node.
type SleepNode struct {
	// Name is that of the Kubernetes node; empty while it is being made.
	Name string `json:"name,omitempty"`
	// ID and Operation are Cast AI's, of a node that the pause made.
	ID           string `json:"id,omitempty"`
	Operation    string `json:"operation,omitempty"`
	InstanceType string `json:"instanceType,omitempty"`
	// Labels that it was made with.
	Labels map[string]string `json:"labels,omitempty"`
	// Made: the pause made it. Otherwise it was there.
	Made bool `json:"made,omitempty"`
}

// stateTarget addresses the state.
func stateTarget(namespace string) cluster.Target {
	return cluster.Target{Ref: ref("", "ConfigMap", namespace, stateName), Version: "v1", Resource: "configmaps"}
}

// stateFields are those of the state that are read.
func stateFields() [][]string {
	return [][]string{{"data", keyStatus}, {"data", keyTime}, {"data", keyJournal}}
}

// Record is what the state ConfigMap says.
type Record struct {
	// Journal is nil if this plugin has never paused the cluster.
	Journal *Journal
	// Status and Time are those of the last run, in the words of Cast AI's job.
	Status string
	Time   time.Time
}

// readRecord reads the state; o is nil if there is none.
func readRecord(o *cluster.Object) (Record, error) {
	var r Record
	if o == nil {
		return r, nil
	}
	data, _ := o.Body["data"].(map[string]any)
	r.Status, _ = data[keyStatus].(string)
	if text, _ := data[keyTime].(string); text != "" {
		// One that can't be read is none: Cast AI's chart ships one with a zone.
		for _, layout := range []string{vendorTime, time.RFC3339} {
			if t, err := time.Parse(layout, text); err == nil {
				r.Time = t
			}
		}
	}
	text, _ := data[keyJournal].(string)
	if text == "" {
		return r, nil
	}
	r.Journal = &Journal{}
	if err := json.Unmarshal([]byte(text), r.Journal); err != nil {
		return r, fmt.Errorf("the journal in %s can't be read: %w: if nobody knows what it said, remove the key %q from it, then run resume --repair", o.Ref(), err, keyJournal)
	}
	if r.Journal.Phase != Awake && (r.Journal.Policies == nil || r.Journal.Run == "") {
		return r, fmt.Errorf("the journal in %s says that the cluster is %s, but not what the autoscaler was before: correct it, or remove the key %q from it and run resume --repair", o.Ref(), r.Journal.Phase, keyJournal)
	}
	return r, nil
}

// content is the state ConfigMap that holds the journal.
func (j *Journal) content(namespace string, now time.Time) (map[string]any, error) {
	text, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return nil, err
	}
	status := statusSuccess
	if j.Phase == Pausing || j.Phase == Resuming || j.Error != "" {
		status = statusFailed
	}
	m := newManifest("", "ConfigMap", "configmaps", namespace, stateName, map[string]any{
		"data": map[string]any{keyStatus: status, keyTime: now.UTC().Format(vendorTime), keyJournal: string(text)},
	})
	meta, _ := m.content["metadata"].(map[string]any)
	meta["annotations"] = map[string]any{PhaseAnnotation: string(j.Phase)}
	return m.content, nil
}

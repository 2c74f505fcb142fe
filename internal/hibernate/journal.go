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
	// Woken is a pause of which somebody else has turned the autoscaler on again.
	// No journal has it: it is seen.
	Woken Phase = "woken"
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
	// Adopted: Cast AI's job had begun the pause, and this plugin went on with it.
	Adopted bool `json:"adopted,omitempty"`
	// Node is the one that the cluster sleeps on.
	Node *SleepNode `json:"node,omitempty"`
	// Kept are the other nodes that stay through the pause.
	Kept []string `json:"kept,omitempty"`
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
	// Written is the time that was written for Cast AI's job beside the journal. If
	// another one is there, that job has run since.
	Written string `json:"written,omitempty"`
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
	// Labels that it gets for the time of the pause, and Was what those of them
	// were that it had before.
	Labels map[string]string `json:"labels,omitempty"`
	Was    map[string]string `json:"was,omitempty"`
	// Made: the pause made it. Otherwise it was there.
	Made bool `json:"made,omitempty"`
}

// stateTarget addresses the state.
func stateTarget(namespace string) cluster.Target {
	return cluster.Target{Ref: ref("", "ConfigMap", namespace, StateName), Version: "v1", Resource: "configmaps"}
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
	// Vendor: Cast AI's job wrote them, and not this plugin.
	Vendor bool
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
		r.Vendor = r.Time.Year() >= firstRun
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
	r.Vendor = r.Vendor && r.Journal.wroteOther(data[keyTime], r.Time)
	return r, nil
}

// firstRun is the year of the first release of Cast AI's job. Its chart ships the
// state of a run in 2022, which never was.
const firstRun = 2023

// wroteOther tells whether the time in the state is not the one that came with the
// journal. Journals of older releases do not have it; they were written within
// seconds of Since.
func (j *Journal) wroteOther(text any, at time.Time) bool {
	if j.Written != "" {
		return text != j.Written
	}
	return at.Sub(j.Since).Abs() > time.Minute
}

// content is the state ConfigMap that holds the journal. Cast AI's job always
// reads success in it: beside policies that are off, any other status makes it turn
// them on in the middle of a pause (HB app/main.py, handle_suspend).
func (j *Journal) content(namespace string, now time.Time) (map[string]any, error) {
	written := *j
	written.Written = now.UTC().Format(vendorTime)
	text, err := json.MarshalIndent(written, "", "  ")
	if err != nil {
		return nil, err
	}
	m := newManifest("", "ConfigMap", "configmaps", namespace, StateName, map[string]any{
		"data": map[string]any{keyStatus: statusSuccess, keyTime: written.Written, keyJournal: string(text)},
	})
	meta, _ := m.content["metadata"].(map[string]any)
	meta["annotations"] = map[string]any{PhaseAnnotation: string(j.Phase)}
	return m.content, nil
}

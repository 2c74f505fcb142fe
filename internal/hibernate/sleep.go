package hibernate

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Who is the one whose pause it is.
type Who string

// Those who pause.
const (
	Nobody Who = ""
	Ours   Who = "kubectl-castai"
	// CastAI is Cast AI's own job (castai/hibernate).
	CastAI Who = "castai-hibernate"
	// Service is Cast AI itself, with its own hibernation.
	Service Who = "castai-service"
)

// Sleep is what a cluster is at, as everything tells that can be seen of it: the
// autoscaler, the nodes, what both tools have written down, and the Jobs that run.
type Sleep struct {
	Phase Phase
	Who   Who
	// By is the one who paused or resumed, and Since when; both may be unknown.
	By    string
	Since time.Time
	// Job is the one of Cast AI's that pauses or resumes right now.
	Job string
	// Unsure: the autoscaler was not asked, so that it may be on.
	Unsure bool
	// Marks counts the objects that a pause of this plugin has marked whose record is gone.
	Marks int
	// Made: Cast AI was asked for nodes since, as it is not while a cluster is paused.
	Made bool
}

// LocalTime is how the user's own clock shows a time.
const LocalTime = "Mon 2 Jan 2006 15:04 MST"

// String says it in a sentence, without a full stop.
func (s Sleep) String() string {
	by := ""
	if !s.Since.IsZero() {
		by = " since " + s.Since.Local().Format(LocalTime)
	}
	if s.By != "" {
		by += ", by " + s.By
	}
	switch {
	case s.Who == Service:
		return s.byService()
	case s.Job != "":
		return fmt.Sprintf("Cast AI's Job %s is %s it right now", s.Job, s.Phase)
	case s.Phase == Woken:
		return "paused" + by +
			", and somebody else has turned the autoscaler on since: run resume to take back the rest, or pause again"
	case s.Phase == Pausing && s.Who == Ours:
		return "a pause has begun and not ended," + by + ": run pause again to go on, or resume"
	case s.Phase == Pausing:
		return "a pause by Cast AI's job has begun and not ended: run resume to take it back, or pause to go on with it" +
			s.doubt()
	case s.Phase == Resuming:
		return "a resume has begun and not ended," + by + ": run resume again"
	case s.Phase == Paused && s.Who == CastAI:
		return "paused" + by + " by Cast AI's job: resume wakes it, pause takes it over" + s.doubt()
	case s.Phase == Awake && s.Marks > 0:
		return fmt.Sprintf("not known: the record of a pause by this plugin is gone, and %s have its marks: resume --repair takes them back, --start-autoscaler turns the autoscaler on", count(s.Marks, "object"))
	case s.Phase == Awake && s.By == "":
		return "awake, and never paused by this plugin"
	}
	if s.Made {
		by += "; Cast AI has made nodes since: somebody may have woken it, or asked for them"
	}
	return string(s.Phase) + by
}

func (s Sleep) doubt() string {
	if s.Unsure {
		return " (as far as can be seen without an API key)"
	}
	return ""
}

// Asleep tells whether a pause of anybody's is on, or not over.
func (s Sleep) Asleep() bool { return s.Phase != Awake }

// Sleep tells what the cluster is at. A pause by this plugin is what its journal
// says, as long as the autoscaler does not contradict. A Job of Cast AI's that runs
// beside it finds the autoscaler off, and does nothing. A pause by that job is told
// from what it writes, as its own resume writes nothing down.
func (s *State) Sleep() Sleep {
	if sleep, ok := s.serviceSleep(); ok {
		return sleep
	}
	on, known := s.Autoscaler()
	j := s.Record.Journal
	if j != nil && j.Phase != Awake {
		return s.ourSleep(j)
	}
	if run := s.runningOther(); run != nil {
		return Sleep{Phase: map[bool]Phase{true: Pausing, false: Resuming}[run.Action == actionPause], Who: CastAI,
			Job: run.Name, Since: run.Started}
	}
	if !known || !on {
		if sleep := s.vendorSleep(); sleep.Asleep() {
			sleep.Unsure = !known
			return sleep
		}
	}
	if j == nil {
		return Sleep{Phase: Awake, Marks: len(marked(s))}
	}
	return Sleep{Phase: Awake, Who: Ours, By: cmp.Or(j.By, "somebody"), Since: j.Since}
}

// ourSleep is what the journal says, as long as nothing contradicts: the autoscaler
// that is on, or nodes that Cast AI was asked for since, as by a resume of its own
// job, which writes nothing down.
func (s *State) ourSleep(j *Journal) Sleep {
	sleep := Sleep{Phase: j.Phase, Who: Ours, By: j.By, Since: j.Since}
	if j.Phase != Paused {
		return sleep
	}
	if s.Console != nil {
		if still, err := switched(s.Console.Policies, j.Policies.Switch); err == nil && still {
			sleep.Phase = Woken
			return sleep
		}
	}
	if !s.madeSince(j.Since) {
		return sleep
	}
	if theirs := s.vendorSleep(); theirs.Asleep() && s.Record.Vendor {
		theirs.Unsure = s.Console == nil
		return theirs
	}
	sleep.Made = s.Console != nil
	return sleep
}

// vendorSleep tells what Cast AI's job left the cluster at, if the autoscaler is
// off. A pause that went well has written success, has left the node with its
// label, and has had all others deleted: nodes that Cast AI has made since mean
// that the cluster was awake since, and that somebody else turned it off. A pause
// that was killed has left a taint, or cordons, or no other node of Cast AI's, and
// has written down nothing since;
// one that failed has turned the autoscaler on, and written that down.
func (s *State) vendorSleep() Sleep {
	labelled, unfinished, others := false, false, false
	for _, n := range s.Nodes {
		_, marked, err := readMark(n.Object)
		if marked || err != nil {
			continue
		}
		_, tainted := n.taint()
		cordoned := n.Spec.Unschedulable && wrote(n.Object, vendorManager, "spec", "unschedulable")
		labelled = labelled || n.Object.Labels[PausedKey] == "true"
		others = others || n.castMade() && n.Object.Labels[PausedKey] == ""
		unfinished = unfinished || (tainted || cordoned) && s.wroteSince(n)
	}
	switch {
	case s.Record.Vendor && s.Record.Status == statusSuccess && labelled && !s.madeSince(s.Record.Time):
		return Sleep{Phase: Paused, Who: CastAI, Since: s.Record.Time}
	case unfinished, labelled && !others && !s.Record.Vendor:
		return Sleep{Phase: Pausing, Who: CastAI}
	}
	return Sleep{Phase: Awake}
}

// madeSince tells whether Cast AI was asked for a node after a time, which it is
// not while a cluster is paused. A node that was asked for before may join later.
func (s *State) madeSince(at time.Time) bool {
	return slices.ContainsFunc(s.Nodes, func(n *Node) bool {
		asked := n.Object.Created
		if n.Console != nil && !n.Console.CreatedAt.IsZero() {
			asked = n.Console.CreatedAt
		}
		return n.castMade() && asked.After(at)
	})
}

// wroteSince tells whether Cast AI's job has written to a node after it last wrote
// down how a run ended.
func (s *State) wroteSince(n *Node) bool {
	if !s.Record.Vendor {
		return true
	}
	return !slices.ContainsFunc(n.ManagedFields, func(e metav1.ManagedFieldsEntry) bool {
		return e.Manager == vendorManager && e.Time != nil && !e.Time.After(s.Record.Time)
	})
}

// castMade tells whether Cast AI made the node, as far as is known without asking
// it, too.
func (n *Node) castMade() bool {
	return n.own() || n.Console == nil && n.Object.Labels[provisioner+"managed-by"] == "cast.ai"
}

package finalize

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// Diagnosis says why a namespace, or one object, does not go away, and what will be done.
type Diagnosis struct {
	// Namespace is the one that is stuck, or that the object is in.
	Namespace string `json:"namespace"`
	// Object is set if it is about one object; then the content is what that waits for.
	Object *cluster.Ref `json:"object,omitempty"`
	// UID and ResourceVersion are those of the namespace or object that was judged.
	UID             types.UID `json:"uid,omitempty"`
	ResourceVersion string    `json:"resourceVersion,omitempty"`
	State           State     `json:"state"`
	// Since is when the deletion was asked for.
	Since      time.Time `json:"since,omitzero"`
	ObservedAt time.Time `json:"observedAt"`
	// Summary is the whole diagnosis in a sentence.
	Summary            string   `json:"summary"`
	SpecFinalizers     []string `json:"specFinalizers,omitempty"`
	MetadataFinalizers []string `json:"metadataFinalizers,omitempty"`
	Content            Content  `json:"content"`
	// Causes are sorted by the force that they need, the least first.
	Causes []Cause `json:"causes"`
	// Conditions are what the namespace controller wrote down. They prove nothing,
	// but a namespace of which they say that something is left is not empty.
	Conditions []Condition `json:"conditions,omitempty"`
	// Unseen names what outside of the namespace this user could not read, by
	// plural.group: causes may hide there.
	Unseen []string `json:"unseen,omitempty"`
	// Volumes are PersistentVolumes that wait although their claims, which were in this
	// namespace, are gone.
	Volumes []Volume `json:"volumes,omitempty"`
	// Refusal is set if this namespace will not be touched.
	Refusal *Refusal `json:"refusal,omitempty"`

	object  *cluster.Object   // the namespace; nil: missing
	subject *cluster.Object   // the object that it is about; nil: the namespace, or missing
	objects []*cluster.Object // its content, with the subject
	helper  bool              // it was made to reach orphans
	server  string            // version of the API server

	may map[*cluster.Object][]string // finalizers that may be removed from its content

	// proven are group/versions that are unavailable and hold nothing of the cluster.
	proven       []string
	contradicted bool // its conditions say that something is left where nothing is seen
}

// State of a namespace.
type State string

// The states.
const (
	Terminating State = "Terminating"
	Active      State = "Active"
	Missing     State = "Missing" // objects may be there all the same
)

// Content counts what is in a namespace.
type Content struct {
	Objects     int `json:"objects"`
	Terminating int `json:"terminating"`
	// Unknown names the groups and resources that could not be looked into.
	Unknown []string `json:"unknown,omitempty"`
}

// Empty tells whether it is certain that nothing is in the namespace.
func (c Content) Empty() bool { return c.Objects == 0 && len(c.Unknown) == 0 }

// empty tells whether nothing is in the namespace, as far as concerns whether it may
// be finalized: an aggregated API that is away holds nothing that the cluster stores,
// if no CustomResourceDefinition is in its group.
func (d *Diagnosis) empty() bool {
	return d.Content.Objects == 0 && !slices.ContainsFunc(d.Content.Unknown,
		func(u string) bool { return !slices.Contains(d.proven, u) })
}

// CauseType says what kind of thing keeps a namespace.
type CauseType string

// The types of causes.
const (
	// Progressing: nothing holds the namespace, its deletion is under way.
	Progressing CauseType = "Progressing"
	// UnavailableAPI: the server can't say what is in an API group, so that the
	// namespace controller can't know that it removed everything.
	UnavailableAPI CauseType = "UnavailableAPI"
	// BlockingWebhook: an admission webhook that nobody answers would reject
	// what has to be done.
	BlockingWebhook CauseType = "BlockingWebhook"
	// LostPods: no kubelet will confirm that these pods have ended.
	LostPods CauseType = "LostPods"
	// TerminatingPods: a kubelet has yet to confirm that these pods have ended.
	TerminatingPods CauseType = "TerminatingPods"
	// NotDeleting: objects whose deletion nobody has asked for yet.
	NotDeleting CauseType = "NotDeleting"
	// UnreadableContent: objects may be there that can't be listed.
	UnreadableContent CauseType = "UnreadableContent"
	// Finalizer: objects that wait for somebody to remove their finalizer.
	Finalizer CauseType = "Finalizer"
	// SpecFinalizer: the namespace has a finalizer beside Kubernetes' own.
	SpecFinalizer CauseType = "SpecFinalizer"
	// MetadataFinalizer: the namespace object itself has a finalizer.
	MetadataFinalizer CauseType = "MetadataFinalizer"
	// Contradiction: nothing is seen in the namespace, but its conditions say that
	// something is left.
	Contradiction CauseType = "Contradiction"
	// DeadConversion: the conversion webhook of a CustomResourceDefinition does not work.
	DeadConversion CauseType = "DeadConversion"
	// RefusedUpdate: the server refuses the removal of a finalizer.
	RefusedUpdate CauseType = "RefusedUpdate"
	// Orphans: objects whose namespace is gone.
	Orphans CauseType = "Orphans"
)

// Rung is a step of the ladder of force.
type Rung string

// The rungs, from the least force to the most.
const (
	// Nothing will be done: the remedy is for a person.
	Nothing          Rung = "none"
	Wait             Rung = "wait"
	RemoveAPIService Rung = "remove-apiservice"
	RemoveWebhook    Rung = "remove-webhook"
	RelaxSchema      Rung = "relax-crd"
	DeletePods       Rung = "delete-pods"
	DeleteContent    Rung = "delete-content"
	ClearFinalizers  Rung = "clear-finalizers"
	Finalize         Rung = "finalize"
	Sweep            Rung = "sweep"
)

// Steps are the rungs that change something, as StepOf names them.
var Steps = []Rung{RemoveAPIService, RemoveWebhook, DeletePods, DeleteContent, ClearFinalizers, Finalize, Sweep}

// Cause is one thing that keeps a namespace.
type Cause struct {
	Type CauseType `json:"type"`
	// Summary says what is wrong, in a sentence.
	Summary string `json:"summary"`
	// Action is what will be done about it; Remedy says it in a sentence, or
	// what a person has to do if the action is "none".
	Action Rung   `json:"action"`
	Remedy string `json:"remedy"`
	// Command does the same with kubectl; with many objects, for the first. It is empty where the
	// remedy is to wait, or for a person to decide.
	Command string `json:"command,omitempty"`
	// Look shows more, and changes nothing.
	Look string `json:"look,omitempty"`
	// Blocks: as long as this is so, the namespace can't go, whatever else is done.
	Blocks bool `json:"blocks,omitempty"`
	// Asks: it is done only if the finalizer is named.
	Asks bool `json:"asks,omitempty"`
	// Since is when the oldest of the objects got stuck.
	Since time.Time `json:"since,omitzero"`
	// Until is how long the controller gets before force is used.
	Until      time.Time   `json:"until,omitzero"`
	Objects    []Group     `json:"objects,omitempty"`
	Finalizer  string      `json:"finalizer,omitempty"`
	Controller *Controller `json:"controller,omitempty"`
	API        *API        `json:"api,omitempty"`
	Webhook    *Webhook    `json:"webhook,omitempty"`
	Node       *Node       `json:"node,omitempty"`
	// Conversion is set if the type is DeadConversion.
	Conversion *DeadWebhook `json:"conversion,omitempty"`

	objects    []*cluster.Object // those to act on
	definition *cluster.Object   // with the action RelaxSchema: the one whose schema is relaxed
	later      bool              // to be acted on only when they are being deleted
	itself     bool              // it goes by itself when what it protects does
}

// APIService names the one that does not answer, if that is the cause.
func (c Cause) APIService() string {
	if c.API == nil {
		return ""
	}
	return c.API.APIService
}

// Group is the objects of one kind.
type Group struct {
	Group    string   `json:"group,omitempty"`
	Kind     string   `json:"kind"`
	Resource string   `json:"resource"`
	Count    int      `json:"count"`
	Names    []string `json:"names"`
}

// Controller is who should have removed a finalizer.
type Controller struct {
	Name string `json:"name"`
	// Alive is "yes", "no" or "unknown"; Evidence says from what that follows.
	Alive    Liveness `json:"alive"`
	Evidence string   `json:"evidence,omitempty"`
	// Guards is what may be lost if the finalizer is removed by force; Outside: it
	// is outside of the cluster.
	Guards  string `json:"guards,omitempty"`
	Outside bool   `json:"outside,omitempty"`

	builtIn bool // a part of the control plane
	doomed  bool // it lives, but is itself being deleted
	awaited bool // it may live: it gets its time before anybody is asked
}

// Liveness tells whether a controller still works.
type Liveness string

// The values of Liveness.
const (
	Alive       Liveness = "yes"
	Gone        Liveness = "no"
	AliveUnsure Liveness = "unknown"
)

// API is an API group and version that can't be reached.
type API struct {
	GroupVersion string `json:"groupVersion"`
	APIService   string `json:"apiService,omitempty"`
	Service      string `json:"service,omitempty"` // namespace/name
	Message      string `json:"message,omitempty"`
	// Owned: it may be removed without further ado (Options.Owned). Owner says whose
	// it seems to be otherwise.
	Owned bool   `json:"owned,omitempty"`
	Owner string `json:"owner,omitempty"`
	// CustomResources are CustomResourceDefinitions of the same group: their
	// objects may be hidden behind the API.
	CustomResources []string `json:"customResources,omitempty"`
}

// Webhook is an admission webhook that nobody answers.
type Webhook struct {
	Configuration string `json:"configuration"`
	Name          string `json:"name"`
	Service       string `json:"service"` // namespace/name
	Operation     string `json:"operation"`
	Owned         bool   `json:"owned,omitempty"`
	Owner         string `json:"owner,omitempty"`
	// Conditional: it has match conditions, which only the server evaluates.
	Conditional bool `json:"conditional,omitempty"`
}

// DeadWebhook is the conversion webhook of a definition, which does not work.
type DeadWebhook struct {
	Definition string `json:"definition"`
	Service    string `json:"service,omitempty"` // namespace/name
	Message    string `json:"message"`
	// Storage is the version in which the objects can be read, Objects their number
	// in the whole cluster.
	Storage string `json:"storage,omitempty"`
	Objects int    `json:"objects"`
}

// Node is the node of pods that nobody confirms.
type Node struct {
	Name    string `json:"name"`
	Missing bool   `json:"missing,omitempty"`
	Virtual bool   `json:"virtual,omitempty"`
	Message string `json:"message,omitempty"`

	lost  bool      // nothing comes of its kubelet
	until time.Time // how long the kubelet gets to come back
}

// Blocked returns the causes about which a person has to do something before
// the namespace can go.
func (d *Diagnosis) Blocked() []Cause {
	var out []Cause
	for _, c := range d.Causes {
		if c.Blocks && c.Action == Nothing {
			out = append(out, c)
		}
	}
	return out
}

// Stuck tells whether the namespace does not go by itself, as far as can be seen: it
// needs somebody to do something, or has waited for longer than controllers get.
func (d *Diagnosis) Stuck() bool {
	if d.State == Terminating && d.ObservedAt.Sub(d.Since) > defaultControllerPatience {
		return true
	}
	return slices.ContainsFunc(d.Causes, func(c Cause) bool {
		return !c.itself && (c.Blocks || c.Action != Wait && c.Type != UnreadableContent)
	})
}

// Asked returns the causes about which a person has to say that a finalizer may go.
func (d *Diagnosis) Asked() []Cause {
	var out []Cause
	for _, c := range d.Causes {
		if c.Asks {
			out = append(out, c)
		}
	}
	return out
}

// Freed tells whether nothing is left of what before is about, as far as can be known.
// One that somebody made anew since is another one.
func (d *Diagnosis) Freed(before *Diagnosis) bool {
	switch d.State {
	case Missing:
		return d.Content.Objects == 0
	case Terminating, Active:
		return before.UID != "" && d.UID != before.UID && !d.helper
	}
	return false
}

// Left says of each namespace that was to be freed and is not what is left, and why.
func Left(before, after []*Diagnosis, r *engine.Report) []string {
	var out []string
	for i, d := range after {
		switch unknown := d.PossiblyOrphaned(r); {
		case !d.Freed(before[i]):
			out = append(out, d.Summary+refusedWrites(d, r))
		case len(unknown) > 0:
			out = append(out, fmt.Sprintf("namespace %s is gone, but it was finalized while nobody could say what of %s is "+
				"in it: "+
				"look with %s when that can be read again", d.Namespace, enumerate(unknown), d.command()))
		}
	}
	return out
}

// PossiblyOrphaned returns what a run may have orphaned without anybody knowing: that
// of which nobody could say whether the namespace held some when it was finalized.
func (d *Diagnosis) PossiblyOrphaned(r *engine.Report) []string {
	for _, o := range r.Outcomes {
		if o.Verb == engine.Finalize && o.Object.Name == d.Namespace && (o.Result == engine.ResultDone ||
			o.Result == engine.ResultGone) {
			return slices.DeleteFunc(slices.Clone(d.Content.Unknown), func(u string) bool {
				return slices.Contains(d.proven,
					u)
			})
		}
	}
	return nil
}

// refusedWrites adds what the server said to the writes that it refused.
func refusedWrites(d *Diagnosis, r *engine.Report) string {
	var said []string
	for _, o := range r.Outcomes {
		mine := d.Object != nil || o.Object.Namespace == d.Namespace ||
			o.Object.Namespace == "" && o.Object.Name == d.Namespace
		if mine && o.Result == engine.ResultFailed && o.Message != "" && len(said) < 3 && !slices.Contains(said, o.Message) {
			said = append(said, o.Message)
		}
	}
	if len(said) == 0 {
		return ""
	}
	return "; the server refused: " + strings.Join(said, "; ")
}

// Orphaned returns what would lose its namespace if it were finalized now.
func (d *Diagnosis) Orphaned() []Group { return groups(d.objects) }

// Count returns how many objects are concerned.
func (c *Cause) Count() int {
	n := 0
	for _, g := range c.Objects {
		n += g.Count
	}
	return n
}

// groups sorts objects by kind.
func groups(objects []*cluster.Object) []Group {
	var out []Group
	at := map[*cluster.Resource]int{}
	for _, o := range objects {
		i, ok := at[o.Resource]
		if !ok {
			i = len(out)
			at[o.Resource] = i
			out = append(out, Group{Group: o.Resource.Group, Kind: o.Resource.Kind, Resource: o.Resource.Name})
		}
		out[i].Count++
		out[i].Names = append(out[i].Names, o.Name)
	}
	slices.SortFunc(out, func(a, b Group) int {
		return strings.Compare(a.Group+"/"+a.Kind, b.Group+"/"+b.Kind)
	})
	return out
}

// String returns "ConfigMap settings" or "12 configmaps".
func (g Group) String() string {
	if g.Count == 1 {
		return g.Kind + " " + g.Names[0]
	}
	name := g.Resource
	if g.Group != "" {
		name += "." + g.Group
	}
	return fmt.Sprintf("%d %s", g.Count, name)
}

// describe lists objects by kind, for a sentence.
func describe(objects []*cluster.Object) string {
	var parts []string
	for _, g := range groups(objects) {
		parts = append(parts, g.String())
	}
	return enumerate(parts)
}

// enumerate returns "a", "a and b" or "a, b and c".
func enumerate(parts []string) string {
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	last := len(parts) - 1
	return strings.Join(parts[:last], ", ") + " and " + parts[last]
}

// oldest returns when the deletion of the first of the objects was asked for. The deletion
// timestamp of a pod is later than that: it is the end of its grace period.
func oldest(objects []*cluster.Object) time.Time {
	var out time.Time
	for _, o := range objects {
		if at := o.Deleting.Add(-o.Grace); o.Terminating() && (out.IsZero() || at.Before(out)) {
			out = at
		}
	}
	return out
}

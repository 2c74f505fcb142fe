package backup

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// Names of the phases of a restore, in order: what others need comes first, and
// what can make the API server refuse others comes last.
const (
	PhaseDefinitions   = "definitions"
	PhaseNamespaces    = "namespaces"
	PhaseRoles         = "roles"
	PhaseBindings      = "bindings"
	PhaseConfiguration = "configuration"
	PhaseWorkloads     = "workloads"
	PhaseResources     = "custom-resources"
	PhaseAPIs          = "api-services"
	PhaseAdmission     = "admission"
	PhaseStarted       = "start"
)

// stages are the phases in their order.
var stages = []struct{ name, title string }{
	{PhaseDefinitions, "Put back custom resource definitions"},
	{PhaseNamespaces, "Put back namespaces"},
	{PhaseRoles, "Put back accounts and roles"},
	{PhaseBindings, "Put back bindings"},
	{PhaseConfiguration, "Put back configuration, Secrets and classes"},
	{PhaseWorkloads, "Put back workloads"},
	{PhaseResources, "Put back custom resources"},
	{PhaseAPIs, "Put back API services"},
	{PhaseAdmission, "Put back webhooks"},
}

// stage returns the index of the phase in which an object is put back.
func stage(r cluster.Ref) int {
	name := PhaseResources
	switch r.Group {
	case "apiextensions.k8s.io":
		name = PhaseDefinitions
	case "rbac.authorization.k8s.io":
		name = PhaseRoles
		if strings.HasSuffix(r.Kind, "Binding") {
			name = PhaseBindings
		}
	case "admissionregistration.k8s.io":
		name = PhaseAdmission
	case "apiregistration.k8s.io":
		name = PhaseAPIs
	case "apps", "batch", "autoscaling":
		name = PhaseWorkloads
	case "", "storage.k8s.io", "node.k8s.io", "scheduling.k8s.io", "networking.k8s.io", "policy",
		"discovery.k8s.io", "security.openshift.io":
		name = PhaseConfiguration
		switch r.Kind {
		case "Namespace":
			name = PhaseNamespaces
		case "ServiceAccount":
			name = PhaseRoles
		case "Pod":
			name = PhaseWorkloads
		}
	}
	for i, s := range stages {
		if s.name == name {
			return i
		}
	}
	return 0
}

// Cluster is what a restore asks of a cluster while it runs.
type Cluster interface {
	Get(ctx context.Context, t cluster.Target, fields ...[]string) (*cluster.Object, error)
	Established(ctx context.Context, names []string) error
}

// Leftover is an object of a backup that a restore leaves out, and why.
type Leftover struct {
	Object cluster.Ref `json:"object"`
	Why    string      `json:"why"`
}

// Restoration is what is to be done with a backup.
type Restoration struct {
	Plan *engine.Plan
	// There counts the objects that are there already, as they were.
	There int
	// Impossible can't come back, ever. Held can't for now, or not without
	// undoing what somebody did since.
	Impossible, Held []Leftover
	// Conflicts are objects that were removed, are there again, and differ. They
	// are held, unless they are to be overwritten.
	Conflicts []Conflict
	// Grants are what the plan grants by RBAC, the widest first.
	Grants []Grant
}

// Conflict is an object that somebody has made anew, and how it differs.
type Conflict struct {
	Object cluster.Ref `json:"object"`
	Fields []Field     `json:"fields"`
	// Overwritten: the plan puts the saved values in place of those.
	Overwritten bool `json:"overwritten"`
}

// RestoreOptions say how to put a backup back.
type RestoreOptions struct {
	// Timeout bounds each phase.
	Timeout time.Duration
	// Overwrite puts the saved values into objects that somebody has made anew, and
	// keeps what else is in them, as kubectl apply does.
	Overwrite bool
}

// Restore plans how to put a backup back. The error says which file could not
// be read any more.
func (b *Backup) Restore(s *Situation, c Cluster, o RestoreOptions) (*Restoration, error) {
	r := &Restoration{Plan: &engine.Plan{}}
	order := newOrder(b.Index)
	actions := map[position][]engine.Action{}
	var started []engine.Action
	for i := range b.Index.Objects {
		e := &b.Index.Objects[i]
		st := s.states[e.Ref]
		a, why, held := b.decide(e, s, c, o.Overwrite)
		if e.Deleted && st.remade(e) && len(st.differs) > 0 {
			r.Conflicts = append(r.Conflicts, Conflict{Object: e.Ref, Fields: st.differs, Overwritten: a != nil})
		}
		switch {
		case held:
			r.Held = append(r.Held, Leftover{e.Ref, why})
		case why != "":
			r.Impossible = append(r.Impossible, Leftover{e.Ref, why})
		case a == nil:
			r.There++
		case a.Verb == engine.Patch:
			started = append(started, *a)
		default:
			p := order.of(e.Ref)
			actions[p] = append(actions[p], *a)
		}
	}
	for _, p := range slices.SortedFunc(maps.Keys(actions), position.compare) {
		phase := engine.Phase{Name: stages[p.stage].name, Title: stages[p.stage].title, Actions: actions[p],
			Timeout: o.Timeout}
		if p.depth > 0 {
			phase.Name = fmt.Sprintf("%s-%d", phase.Name, p.depth)
			phase.Title = fmt.Sprintf("Put back what belongs to them (%d)", p.depth)
		}
		if phase.Name == PhaseDefinitions {
			phase.Ready = served(c, phase.Actions)
		}
		r.Plan.Phases = append(r.Plan.Phases, phase)
	}
	if len(started) > 0 {
		r.Plan.Phases = append(r.Plan.Phases, engine.Phase{
			Name: PhaseStarted, Title: "Take back what the offboarding changed in objects that are still there",
			Actions: started, Timeout: o.Timeout,
		})
	}
	var err error
	r.Grants, err = b.grants(r.Plan)
	return r, err
}

func isNamespace(r cluster.Ref) bool { return r.Group == "" && r.Kind == "Namespace" }

// remade tells whether another object has the name of a saved one.
func (st *state) remade(e *Entry) bool {
	return st.found != nil && st.found.GetDeletionTimestamp() == nil && st.found.GetUID() != e.UID
}

// served waits until the kinds that were put back are served.
func served(c Cluster, definitions []engine.Action) func(context.Context) error {
	return func(ctx context.Context) error {
		var names []string
		for _, a := range definitions {
			names = append(names, a.Target.Name)
		}
		return c.Established(ctx, names)
	}
}

// decide says what to do with one object: an action, nothing (it is there), or
// why it is left out, and whether that is only for now.
func (b *Backup) decide(e *Entry, s *Situation, c Cluster, overwrite bool) (a *engine.Action, why string, held bool) {
	st, stranger := s.states[e.Ref], s.strangers[e.Ref]
	switch {
	case e.NotRestored != "" && !b.edited[e.Ref]:
		return nil, e.NotRestored, false
	case e.Namespace != "" && s.closing[e.Namespace]:
		return nil, fmt.Sprintf("namespace %s is being deleted: run it again when that is gone", e.Namespace), true
	case e.Namespace != "" && s.taken[e.Namespace] && !overwrite:
		return nil, fmt.Sprintf("namespace %s is another one, which somebody has made since: --overwrite puts it there",
			e.Namespace), true
	case st.found == nil && !e.Deleted && slices.Contains(b.Index.Dependents, e.Ref):
		return nil, "", false // it went with its owner, which makes another one
	case st.found == nil && !e.Deleted:
		return nil, "the offboarding only changed it, and somebody has deleted it since", false
	case st.found == nil && stranger != "" && !overwrite:
		return nil, stranger, true
	case st.found == nil:
		return b.put(e, c, nil, "the backup has it, and the cluster does not"), "", false
	case st.found.GetDeletionTimestamp() != nil:
		return nil, "it is being deleted: run it again when it is gone", true
	case st.found.GetUID() == e.UID:
		if len(st.changed) > 0 {
			return nil, fmt.Sprintf("somebody has changed %s since: it stays as it is", strings.Join(st.changed, ", ")), true
		}
		if len(st.undo) == 0 {
			return nil, "", false
		}
		return revert(e, st), "", false
	case !e.Deleted:
		return nil, "the offboarding only changed it, and there is another one of that name now", false
	case isNamespace(e.Ref) && s.taken[e.Name] && !overwrite:
		return nil, "it is another one, which somebody has made since", true
	case len(st.differs) == 0:
		return nil, "", false
	case !overwrite:
		return nil, "somebody has made it anew, and it differs: --overwrite puts the saved values into it", true
	}
	return b.put(e, c, st.found, "it was made anew, and differs from the backup"), "", false
}

// put returns the action that puts an object back. It writes into an object that
// is there only if that is to be overwritten, and as it was judged: one that
// appears meanwhile is somebody's.
func (b *Backup) put(e *Entry, c Cluster, over *unstructured.Unstructured, why string) *engine.Action {
	t := e.Target
	t.UID, t.ResourceVersion = "", ""
	verb, command := engine.Create, "kubectl create -f "
	if over != nil {
		verb, command = engine.Apply, "kubectl apply --server-side --force-conflicts -f "
	}
	return &engine.Action{
		Verb: verb, Target: t, Why: why, Command: command + e.File,
		Content: func(ctx context.Context) (map[string]any, error) {
			u, err := b.object(e)
			if err != nil {
				return nil, err
			}
			owners, err := relink(ctx, c, u.GetOwnerReferences(), e)
			if err != nil {
				return nil, err
			}
			if u.SetOwnerReferences(owners); len(owners) == 0 {
				unstructured.RemoveNestedField(u.Object, "metadata", "ownerReferences")
			}
			return u.Object, asJudged(ctx, c, t, over, u)
		},
	}
}

// asJudged makes the server refuse to overwrite another object than the one that
// was judged, and refuses itself if that one has changed since.
func asJudged(ctx context.Context, c Cluster, t cluster.Target, over, u *unstructured.Unstructured) error {
	if over == nil {
		return nil
	}
	live, err := c.Get(ctx, t)
	if err != nil {
		return fmt.Errorf("can't read %s, which is to be overwritten: %w", t.Ref, err)
	}
	if live.UID != over.GetUID() || live.ResourceVersion != over.GetResourceVersion() {
		return fmt.Errorf("%s has changed since the plan was made: run it again", t.Ref)
	}
	u.SetUID(over.GetUID())
	return nil
}

// revert returns the action that takes back what the offboarding changed. In an
// object of a user it is refused if there was any other change since.
func revert(e *Entry, st state) *engine.Action {
	t := e.Target
	t.UID = st.found.GetUID()
	patch := st.undo
	if !e.Deleted {
		patch = merge([]map[string]any{patch, {"metadata": map[string]any{"resourceVersion": st.found.GetResourceVersion()}}})
	}
	return &engine.Action{Verb: engine.Patch, Target: t, Patch: patch, Why: "it was stopped or changed, and not deleted"}
}

// relink returns the owner references that an object can have now: those to
// owners that are still there, and those to owners that were put back.
func relink(ctx context.Context, c Cluster, refs []metav1.OwnerReference, e *Entry) ([]metav1.OwnerReference, error) {
	var out []metav1.OwnerReference
	for _, ref := range refs {
		i := slices.IndexFunc(e.Owners, func(t cluster.Target) bool { return t.UID == ref.UID })
		if i < 0 {
			continue // written by hand: nobody knows whether it is there
		}
		o, err := c.Get(ctx, e.Owners[i])
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("can't read its owner %s: %w", e.Owners[i].Ref, err)
		}
		if err == nil && !o.Terminating() {
			out = append(out, ref)
		}
	}
	for _, owner := range e.OwnedBy {
		t := owner.Target
		t.UID = ""
		o, err := c.Get(ctx, t)
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("can't read its owner %s: %w", t.Ref, err)
		}
		if err != nil || o.Terminating() {
			continue
		}
		ref := metav1.OwnerReference{APIVersion: t.GVR().GroupVersion().String(), Kind: t.Kind, Name: t.Name, UID: o.UID}
		if owner.Controller {
			ref.Controller = &owner.Controller
		}
		if owner.BlockOwnerDeletion {
			ref.BlockOwnerDeletion = &owner.BlockOwnerDeletion
		}
		out = append(out, ref)
	}
	return out, nil
}

// position is when an object is put back: in its stage, after its owners.
type position struct{ stage, depth int }

func (p position) compare(q position) int {
	return cmp.Or(cmp.Compare(p.stage, q.stage), cmp.Compare(p.depth, q.depth))
}

// order finds the positions of the objects of a backup.
type order struct {
	entries map[cluster.Ref]*Entry
	known   map[cluster.Ref]position
}

func newOrder(index *Index) *order {
	o := &order{entries: map[cluster.Ref]*Entry{}, known: map[cluster.Ref]position{}}
	for i := range index.Objects {
		o.entries[index.Objects[i].Ref] = &index.Objects[i]
	}
	return o
}

func (o *order) of(r cluster.Ref) position {
	if p, ok := o.known[r]; ok {
		return p
	}
	p := position{stage: stage(r)}
	o.known[r] = p // an end for owners in a circle
	e := o.entries[r]
	if e == nil {
		return p
	}
	for _, owner := range e.OwnedBy {
		if o.entries[owner.Target.Ref] == nil {
			continue
		}
		if after := o.of(owner.Target.Ref); position.compare(p, position{after.stage, after.depth + 1}) < 0 {
			p = position{after.stage, after.depth + 1}
		}
	}
	o.known[r] = p
	return p
}

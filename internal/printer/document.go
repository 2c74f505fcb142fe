package printer

import (
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/castai/kubectl-castai/internal/console"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/finalize"
	"github.com/castai/kubectl-castai/pkg/offboard"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// APIVersion of every document that -o json and -o yaml print.
const APIVersion = "castai.kubectl.dev/v1alpha1"

// TypeMeta says which document it is.
type TypeMeta struct {
	APIVersion string `json:"apiVersion" jsonschema:"enum=castai.kubectl.dev/v1alpha1"`
	Kind       string `json:"kind"`
}

// Metadata says which cluster a document is about, and when it was made.
type Metadata struct {
	Cluster           string    `json:"cluster"`
	Context           string    `json:"context,omitempty"`
	Server            string    `json:"server"`
	KubernetesVersion string    `json:"kubernetesVersion,omitempty"`
	KubeSystemUID     types.UID `json:"kubeSystemUID,omitempty"`
	Time              time.Time `json:"time"`
}

// NewMetadata describes the server.
func NewMetadata(s cluster.Server) Metadata {
	return Metadata{
		Cluster: s.DisplayName(), Context: s.Context, Server: s.Host,
		KubernetesVersion: s.Version, KubeSystemUID: s.KubeSystemUID, Time: time.Now().UTC().Truncate(time.Second),
	}
}

// Inventory is the document of status and verify.
type Inventory struct {
	TypeMeta `json:",inline"`
	Metadata Metadata           `json:"metadata"`
	CastAI   ownership.Identity `json:"castai"`
	Clean    bool               `json:"clean"` // nothing owned or with an identity of Cast AI's, and everything could be read
	// Remains are objects that are not owned and have an identity of Cast AI's all the same.
	Remains    []cluster.Ref        `json:"remains,omitempty"`
	Releases   []string             `json:"releases,omitempty"`
	Owned      []Object             `json:"owned"`
	Unclear    []Object             `json:"unclear"`
	Namespaces []Namespace          `json:"namespaces,omitempty"`
	Unreadable []cluster.Unreadable `json:"unreadable,omitempty"`
	// Console is what Cast AI's console knows of the cluster, if there was a key to ask with.
	Console  *console.View       `json:"console,omitempty"`
	Impact   ownership.Impact    `json:"impact"`
	Blockers []ownership.Blocker `json:"blockers,omitempty"`
}

// Object is an object with the evidence for and against its being Cast AI's.
type Object struct {
	cluster.Ref `json:",inline"`
	UID         types.UID            `json:"uid"`
	Component   string               `json:"component,omitempty"`
	Evidence    []ownership.Evidence `json:"evidence,omitempty"`
	Hints       []ownership.Evidence `json:"hints,omitempty"`
	Against     []ownership.Evidence `json:"against,omitempty"`
	Setting     bool                 `json:"setting,omitempty"`
	Dependent   bool                 `json:"dependent,omitempty"`
	Terminating bool                 `json:"terminating,omitempty"`
	Finalizers  []string             `json:"finalizers,omitempty"`
}

// Namespace says whether a namespace of Cast AI's goes whole, or what lives in it that stays.
type Namespace struct {
	Name  string        `json:"name"`
	Why   string        `json:"why"`
	Whole bool          `json:"whole"`
	Keep  []cluster.Ref `json:"keep,omitempty"`
}

// NewInventory makes the document of an inventory.
func NewInventory(inv *ownership.Inventory) *Inventory {
	doc := &Inventory{
		TypeMeta: TypeMeta{APIVersion, "Inventory"}, Metadata: NewMetadata(inv.Server), CastAI: inv.Identity,
		Clean: inv.Clean(), Remains: inv.Remains, Releases: inv.Releases, Unreadable: inv.Unreadable, Impact: inv.Impact,
		Blockers: inv.Blockers,
		Owned:    objects(inv.Owned()), Unclear: objects(inv.Unclear()), Namespaces: namespaces(inv),
	}
	return doc
}

func namespaces(inv *ownership.Inventory) []Namespace {
	var out []Namespace
	for _, h := range inv.Homes {
		out = append(out, Namespace{Name: h.Name, Why: h.Evidence.Text, Whole: inv.IsOwned(h.Namespace.Ref()), Keep: h.Keep})
	}
	return out
}

func objects(items []*ownership.Item) []Object {
	out := make([]Object, 0, len(items))
	for _, i := range items {
		out = append(out, Object{
			Ref: i.Object.Ref(), UID: i.Object.UID, Component: i.Component, Evidence: i.For, Hints: i.Hints, Against: i.Against,
			Setting: i.Setting, Dependent: i.Dependent, Terminating: i.Object.Terminating(), Finalizers: i.Object.Finalizers,
		})
	}
	return out
}

// Plan is the document of offboard --dry-run=client.
type Plan struct {
	TypeMeta `json:",inline"`
	Metadata Metadata `json:"metadata"`
	// Digest is the checksum of what the plan does in this cluster (offboard.Digest).
	Digest     string               `json:"digest"`
	Phases     []engine.Phase       `json:"phases"`
	Notes      []string             `json:"notes,omitempty"`
	Unclear    []Object             `json:"unclear"`
	Namespaces []Namespace          `json:"namespaces,omitempty"`
	Unreadable []cluster.Unreadable `json:"unreadable,omitempty"`
	Impact     ownership.Impact     `json:"impact"`
	Blockers   []ownership.Blocker  `json:"blockers,omitempty"`
}

// NewPlan makes the document of a plan.
func NewPlan(inv *ownership.Inventory, plan *engine.Plan) *Plan {
	phases := plan.Phases
	if phases == nil {
		phases = []engine.Phase{}
	}
	return &Plan{
		TypeMeta: TypeMeta{APIVersion,
			"Plan"}, Metadata: NewMetadata(inv.Server), Digest: offboard.Digest(inv.Server.KubeSystemUID, plan),
		Phases: phases, Notes: plan.Notes, Unclear: objects(inv.Unclear()),
		Namespaces: namespaces(inv), Unreadable: inv.Unreadable, Impact: inv.Impact, Blockers: inv.Blockers,
	}
}

// ReadPlan reads the document of a plan, as JSON or YAML. The error says why it
// is none, or that somebody has changed what it does since it was made.
func ReadPlan(raw []byte) (*Plan, error) {
	p := &Plan{}
	if err := yaml.Unmarshal(raw, p); err != nil {
		return nil, fmt.Errorf("it can't be read as JSON or YAML: %w", err)
	}
	if p.TypeMeta != (TypeMeta{APIVersion, "Plan"}) {
		return nil, fmt.Errorf("it is not a plan, which has apiVersion %s and kind Plan: make one with offboard --dry-run=client -o json", APIVersion)
	}
	if p.Digest != offboard.Digest(p.Metadata.KubeSystemUID, p.Engine()) {
		return nil, errors.New("its digest is not that of its phases: somebody has changed it since it was made")
	}
	return p, nil
}

// Engine returns what the document says as a plan, without what can't be written
// into a document: it can be compared, and not carried out.
func (d *Plan) Engine() *engine.Plan { return &engine.Plan{Phases: d.Phases, Notes: d.Notes} }

// Report is the document of a run.
type Report struct {
	TypeMeta      `json:",inline"`
	Metadata      Metadata `json:"metadata"`
	engine.Report `json:",inline"`
	// PlanDigest is that of the plan that was agreed to.
	PlanDigest string `json:"planDigest,omitempty"`
	// Backup is the folder in which what was removed is saved.
	Backup string `json:"backup,omitempty"`
	// Audit are the files with the record of every write and its answer.
	Audit []string `json:"audit,omitempty"`
	// Left is what of Cast AI's was found afterwards.
	Left []Object `json:"left"`
	// Remains is what has an identity of Cast AI's and stays for others.
	Remains []Remaining `json:"remains,omitempty"`
	// Returned is what somebody made, or made again, meanwhile.
	Returned   []offboard.Return    `json:"returned,omitempty"`
	Unreadable []cluster.Unreadable `json:"unreadable,omitempty"`
	// Namespaces is what unstick-ns found afterwards.
	Namespaces []*finalize.Diagnosis `json:"namespaces,omitempty"`
	// Stuck is what unstick found afterwards.
	Stuck []*finalize.Diagnosis `json:"objects,omitempty"`
	// Error says why the run ended early.
	Error string `json:"error,omitempty"`
}

// Remaining is an object with an identity of Cast AI's that stays for others.
type Remaining struct {
	cluster.Ref `json:",inline"`
	// For is what is in it, of a namespace.
	For []cluster.Ref `json:"for,omitempty"`
}

// remaining says for whom what remains does.
func remaining(inv *ownership.Inventory) []Remaining {
	var out []Remaining
	for _, r := range inv.Remains {
		left := Remaining{Ref: r}
		if r.Kind == "Namespace" && r.Group == "" {
			left.For = inv.Holds(r.Name)
		}
		out = append(out, left)
	}
	return out
}

// NewReport makes the document of a run. after is the inventory taken when it
// was over, nil if none could be taken.
func NewReport(s cluster.Server, r *engine.Report, after *ownership.Inventory, returned []offboard.Return,
	err error) *Report {
	doc := &Report{TypeMeta: TypeMeta{APIVersion, "Report"}, Metadata: NewMetadata(s), Report: *r, Left: []Object{},
		Returned: returned}
	if doc.Outcomes == nil {
		doc.Outcomes = []engine.Outcome{}
	}
	if doc.Phases == nil {
		doc.Phases = []engine.PhaseTime{}
	}
	if after != nil {
		doc.Left, doc.Remains, doc.Unreadable = objects(after.Owned()), remaining(after), after.Unreadable
	}
	if err != nil {
		doc.Error = err.Error()
	}
	return doc
}

// Explanation is the document of status for one object.
type Explanation struct {
	TypeMeta              `json:",inline"`
	Metadata              Metadata `json:"metadata"`
	ownership.Explanation `json:",inline"`
}

// NewExplanation makes the document of an explanation.
func NewExplanation(s cluster.Server, e *ownership.Explanation) *Explanation {
	return &Explanation{TypeMeta{APIVersion, "Explanation"}, NewMetadata(s), *e}
}

// WhyNot is the document of status --why-not.
type WhyNot struct {
	TypeMeta `json:",inline"`
	Metadata Metadata `json:"metadata"`
	// Foreign is what has to do with Cast AI, or is where it lives, and is not its own.
	Foreign []Object `json:"foreign"`
}

// NewWhyNot makes the document of what an inventory says is not Cast AI's.
func NewWhyNot(inv *ownership.Inventory) *WhyNot {
	return &WhyNot{TypeMeta{APIVersion, "WhyNot"}, NewMetadata(inv.Server), objects(inv.WhyNot())}
}

// Objects returns what is not Cast AI's.
func (d *WhyNot) Objects() []cluster.Ref { return refsOf(d.Foreign) }

// Objects returns what is Cast AI's, and then what is unclear.
func (d *Inventory) Objects() []cluster.Ref {
	return append(refsOf(d.Owned), refsOf(d.Unclear)...)
}

// Objects returns what the plan removes or changes, each once.
func (d *Plan) Objects() []cluster.Ref {
	var out []cluster.Ref
	seen := map[cluster.Ref]bool{}
	for _, p := range d.Phases {
		for _, a := range p.Actions {
			if r := a.Target.Ref; a.Verb != engine.Call && !seen[r] {
				seen[r] = true
				out = append(out, r)
			}
		}
	}
	return out
}

// Objects returns what is left.
func (d *Report) Objects() []cluster.Ref { return refsOf(d.Left) }

// Objects returns the object that is explained.
func (d *Explanation) Objects() []cluster.Ref { return []cluster.Ref{d.Object} }

func refsOf(list []Object) []cluster.Ref {
	out := make([]cluster.Ref, len(list))
	for i, o := range list {
		out[i] = o.Ref
	}
	return out
}

package finalize

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// RelaxedAnnotation is on a CustomResourceDefinition as long as its schema is relaxed. Its
// value is what was taken off, so that whoever finds it can put it back.
const RelaxedAnnotation = "castai.kubectl.dev/relaxed"

// refusing are the keywords at the root of a schema by which the API server refuses an
// update that changes only the metadata of an object. What is wrong further down it lets
// pass as long as that does not change (feature CRDValidationRatcheting, Kubernetes
// 1.36.3; k8s.io/apiextensions-apiserver v0.36.3 pkg/apiserver/validation/ratcheting.go:
// the root of an object with changed metadata has changed).
var refusing = []string{"required", "x-kubernetes-validations", "oneOf", "anyOf", "allOf", "not", "minProperties",
	"maxProperties"}

// keyword is one that was at the root of the schema of a version.
type keyword struct {
	Version string `json:"version"`
	Name    string `json:"keyword"`
	Value   any    `json:"value"`
}

// schemaFields are those of a definition that hold its schemas.
var schemaFields = [][]string{{"spec", "versions"}}

// findSchemas reads the definitions whose schema refuses the removal of a finalizer.
func (o *Observation) findSchemas(ctx context.Context, c Reader) {
	for class, s := range o.Samples {
		name := class.Resource.String()
		if !invalidObject.MatchString(s.Refused) || o.Schemas[name] != nil {
			continue
		}
		i := slices.IndexFunc(o.Objects, func(obj *cluster.Object) bool {
			return isDefinition(obj.Ref()) &&
				obj.Name == name
		})
		if i < 0 {
			continue
		}
		crd, err := c.Get(ctx, o.Objects[i].Target(), schemaFields...)
		if err != nil {
			continue // it is gone, or may not be read: then it is not offered to relax it
		}
		if o.Schemas == nil {
			o.Schemas = map[string]*cluster.Object{}
		}
		o.Schemas[name] = crd
	}
}

// versionsOf returns a copy of the versions of a definition.
func versionsOf(crd *cluster.Object) []any {
	versions, _, _ := unstructured.NestedSlice(crd.Body, "spec", "versions")
	return versions
}

// rootOf returns the root of the schema of a version, and the name of the version.
func rootOf(version any) (root map[string]any, name string) {
	v, _ := version.(map[string]any)
	name, _ = v["name"].(string)
	schema, _ := v["schema"].(map[string]any)
	root, _ = schema["openAPIV3Schema"].(map[string]any)
	return root, name
}

// relax returns the versions of a definition without the keywords that refuse, and these.
func relax(crd *cluster.Object) (versions []any, taken []keyword) {
	versions = versionsOf(crd)
	for _, v := range versions {
		root, name := rootOf(v)
		for _, k := range refusing {
			if value, has := root[k]; has {
				taken = append(taken, keyword{name, k, value})
				delete(root, k)
			}
		}
	}
	return versions, taken
}

// restrict puts keywords back into versions that lack them. What somebody has written
// there meanwhile stays.
func restrict(versions []any, taken []keyword) {
	for _, v := range versions {
		root, name := rootOf(v)
		for _, k := range taken {
			if _, has := root[k.Name]; k.Version == name && root != nil && !has {
				root[k.Name] = k.Value
			}
		}
	}
}

// relaxAction relaxes the schema of a definition, and writes on it what puts it back.
func relaxAction(crd *cluster.Object) engine.Action {
	_, taken := relax(crd)
	return engine.Action{
		Verb: engine.Patch, Target: crd.Target(), Fields: schemaFields,
		Why:     "its schema refuses the removal of finalizers: " + says(taken),
		Command: patchSchema(crd.Name, "remove", crd, taken),
		Change: func(now *cluster.Object) (map[string]any, error) {
			versions, taken := relax(now)
			if len(taken) == 0 {
				return nil, nil // relaxed already
			}
			if before := takenOff(now); len(before) > 0 {
				taken = append(before, taken...)
			}
			undo, err := json.Marshal(taken)
			if err != nil {
				return nil, fmt.Errorf("can't write down the schema of %s: %w", crd.Name, err)
			}
			return map[string]any{
				"metadata": map[string]any{"annotations": map[string]any{RelaxedAnnotation: string(undo)}},
				"spec":     map[string]any{"versions": versions},
			}, nil
		},
	}
}

// putBackAction puts the schema of a definition back, from what is written on it.
func putBackAction(crd *cluster.Object) engine.Action {
	_, taken := relax(crd)
	return engine.Action{
		Verb: engine.Patch, Target: crd.Target(), Fields: schemaFields, Why: "its schema was relaxed for a while",
		Command: patchSchema(crd.Name, "add", crd, taken),
		Change: func(now *cluster.Object) (map[string]any, error) {
			taken := takenOff(now)
			if len(taken) == 0 {
				return nil, nil
			}
			versions := versionsOf(now)
			restrict(versions, taken)
			return map[string]any{
				"metadata": map[string]any{"annotations": map[string]any{RelaxedAnnotation: nil}},
				"spec":     map[string]any{"versions": versions},
			}, nil
		},
	}
}

// takenOff reads what was taken off a definition.
func takenOff(crd *cluster.Object) []keyword {
	var taken []keyword
	if json.Unmarshal([]byte(crd.Annotations[RelaxedAnnotation]), &taken) != nil {
		return nil
	}
	return taken
}

// says names keywords, for a sentence.
func says(taken []keyword) string {
	var out []string
	for _, k := range taken {
		// What came from JSON always marshals.
		value, _ := json.Marshal(k.Value)
		out = append(out, fmt.Sprintf("%s %s at the root of version %s", k.Name, value, k.Version))
	}
	return enumerate(out)
}

// patchSchema is the command that takes keywords off a definition, or adds them.
func patchSchema(name, op string, crd *cluster.Object, taken []keyword, more ...any) string {
	patch := more
	for i, v := range versionsOf(crd) {
		_, version := rootOf(v)
		for _, k := range taken {
			if k.Version != version {
				continue
			}
			step := map[string]any{"op": op, "path": fmt.Sprintf("/spec/versions/%d/schema/openAPIV3Schema/%s", i, k.Name)}
			if op == "add" {
				step["value"] = k.Value
			}
			patch = append(patch, step)
		}
	}
	// As above.
	text, _ := json.Marshal(patch)
	return fmt.Sprintf("kubectl patch crd %s --type=json -p %s", name, quote(string(text)))
}

// relaxes tells whether it was said of a definition that its schema may be relaxed.
func (o Options) relaxes(definition string) bool { return slices.Contains(o.RelaxSchemas, definition) }

// schemaRefuser is who refuses a write for what the schema of a definition says.
func (e *examination) schemaRefuser(o *cluster.Object) refuser {
	name := o.Resource.GroupResource().String()
	r := refuser{
		what:       "the schema of the CustomResourceDefinition " + name,
		definition: name, command: "kubectl edit crd " + name,
		remedy: "write what the schema asks for into the object in the same patch",
	}
	crd := e.obs.Schemas[name]
	if crd == nil {
		r.remedy += fmt.Sprintf(", or relax the schema until the object is gone: save the definition (kubectl get crd %[1]s "+
			"-o yaml > %[1]s.yaml), remove the rule, run this again, and put it back (kubectl replace -f %[1]s.yaml)", name)
		return r
	}
	_, taken := relax(crd)
	if len(taken) == 0 {
		return r // it is not the root that refuses
	}
	r.offered = true
	r.command = patchSchema(name, "remove", crd, taken)
	r.remedy += fmt.Sprintf(", or pass --relax-crd=%s: that takes %s off the definition, for all of its objects, and puts it "+
		"back when this is done (by hand: %s)", name, says(taken), patchSchema(name, "add", crd, taken))
	return r
}

// schemaActions are what is done to definitions that may be relaxed and whose schema
// refuses something, each once.
func schemaActions(ds []*Diagnosis, action func(*cluster.Object) engine.Action) []engine.Action {
	crds := map[string]*cluster.Object{}
	for _, d := range ds {
		for _, c := range d.Causes {
			if c.Action == RelaxSchema {
				crds[c.definition.Name] = c.definition
			}
		}
	}
	var out []engine.Action
	for _, name := range slices.Sorted(maps.Keys(crds)) {
		out = append(out, action(crds[name]))
	}
	return out
}

// putBackTime is how long it may take to put schemas back, whatever ended the run.
const putBackTime = 30 * time.Second

// relaxed carries a plan out while the schemas that may be relaxed are, and puts them
// back. Its error says what could not be put back, and how that is done by hand.
func (r *Runner) relaxed(ctx context.Context, ds []*Diagnosis, plan *engine.Plan) (*engine.Report, error) {
	relaxing := schemaActions(ds, relaxAction)
	if len(relaxing) == 0 {
		return engine.Run(ctx, r.Cluster, plan, engine.Options{OnEvent: r.OnEvent})
	}
	plan.Phases = append([]engine.Phase{relaxPhase(relaxing)}, plan.Phases...)
	report, err := engine.Run(ctx, r.Cluster, plan, engine.Options{OnEvent: r.OnEvent})

	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), putBackTime)
	defer cancel()
	back, backErr := engine.Run(last, r.Cluster, &engine.Plan{Phases: []engine.Phase{
		putBackPhase(schemaActions(ds, putBackAction))}}, engine.Options{OnEvent: r.OnEvent})
	report.Outcomes = append(report.Outcomes, back.Outcomes...)
	report.Phases = append(report.Phases, back.Phases...)
	var left []string
	for _, a := range schemaActions(ds, putBackAction) {
		if !slices.ContainsFunc(back.Outcomes, func(o engine.Outcome) bool {
			return o.Object == a.Target.Ref && (o.Result == engine.ResultDone || o.Result == engine.ResultGone)
		}) {
			left = append(left, fmt.Sprintf("the schema of %s is still relaxed: %s", a.Target.Ref, a.Command))
		}
	}
	if len(left) > 0 {
		backErr = errors.New(strings.Join(left, "; "))
	}
	return report, errors.Join(err, backErr)
}

func relaxPhase(actions []engine.Action) engine.Phase {
	return engine.Phase{Name: PhaseRelax, Title: "Relax the schema of definitions", Actions: actions}
}

func putBackPhase(actions []engine.Action) engine.Phase {
	return engine.Phase{Name: PhasePutBack, Title: "Put the schema of definitions back", Actions: actions}
}

// Phases of a run that relaxes schemas.
const (
	PhaseRelax   = "relax"
	PhasePutBack = "put-back"
)

// refused tells whether a schema that is to be relaxed refuses the removal of finalizers
// from an object.
func (d *Diagnosis) refused(t cluster.Target) bool {
	return slices.ContainsFunc(d.Causes, func(c Cause) bool {
		return c.Action == RelaxSchema && slices.ContainsFunc(c.objects,
			func(o *cluster.Object) bool { return o.UID == t.UID })
	})
}

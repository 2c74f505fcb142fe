package hibernate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// neverRun is what the state holds before the first run (HB deploy.yaml).
var neverRun = map[string]any{keyStatus: statusSuccess, keyTime: "2022-01-01T00:00:00"}

// Targets are the objects that an installation is made of.
func Targets(namespace string) []cluster.Ref {
	out := []cluster.Ref{ref("", "ConfigMap", namespace, StateName)}
	for _, m := range manifests(namespace, Configuration{}, &Key{}) {
		out = append(out, m.target.Ref)
	}
	return out
}

// Install returns the plan that brings the installation to the configuration.
// Without a key the Secret stays as it is.
func (in *Installation) Install(c Configuration, key *Key) *engine.Plan {
	prepare := engine.Phase{Name: "prepare", Title: "Make what the jobs need, with no more rights than that", Gate: true, InOrder: true, Timeout: time.Minute}
	schedule := engine.Phase{Name: "schedule", Title: "Set the schedule", Gate: true, InOrder: true, Timeout: time.Minute}
	state := ref("", "ConfigMap", in.Namespace, StateName)
	if in.objects[state] == nil {
		m := newManifest("", "ConfigMap", "configmaps", in.Namespace, StateName, map[string]any{"data": maps.Clone(neverRun)})
		prepare.Actions = append(prepare.Actions, m.apply("where the jobs keep their state"))
	}
	for _, m := range manifests(in.Namespace, c, key) {
		switch m.target.Kind {
		case "CronJob":
			schedule.Actions = append(schedule.Actions, m.apply(purpose[m.target.Name]))
		default:
			prepare.Actions = append(prepare.Actions, m.apply(purpose[m.target.Kind]))
		}
	}
	phases := []engine.Phase{prepare}
	if in.admin != nil {
		phases = append(phases, engine.Phase{Name: "rights", Title: "Take away the role admin, which no job needs", Timeout: time.Minute, Actions: []engine.Action{remove(in.admin, "it lets the jobs do anything in every namespace")}})
	}
	return &engine.Plan{Phases: append(phases, schedule)}
}

var purpose = map[string]string{
	"Secret": "the API key", "ServiceAccount": "who the jobs are", "Role": "what they may do in their namespace", "RoleBinding": "grants it",
	"ClusterRole": "what they may do in the cluster", "ClusterRoleBinding": "grants it", PauseCronJob: "pauses", ResumeCronJob: "resumes",
}

// apply returns the action that makes the object, or makes it so.
func (m manifest) apply(why string) engine.Action {
	return engine.Action{
		Verb: engine.Apply, Target: m.target, Why: why,
		Content: func(context.Context) (map[string]any, error) { return m.content, nil },
	}
}

// Uninstall returns the plan that removes what is there and is Cast AI's: the
// CronJobs first, so that nothing starts any more, and the rights last.
func (in *Installation) Uninstall(owned func(cluster.Ref) bool) (plan *engine.Plan, kept []cluster.Ref) {
	jobs := engine.Phase{Name: "schedule", Title: "Remove the CronJobs, and end their Jobs", Gate: true, Timeout: 3 * time.Minute}
	rest := engine.Phase{Name: "objects", Title: "Remove what they needed", Timeout: time.Minute}
	for _, o := range in.Objects() {
		switch {
		case !owned(o.Ref()):
			kept = append(kept, o.Ref())
		case o.Resource.Kind == "CronJob":
			jobs.Actions = append(jobs.Actions, remove(o, "it is of the installation"))
		default:
			rest.Actions = append(rest.Actions, remove(o, "it is of the installation"))
		}
	}
	plan = &engine.Plan{}
	for _, p := range []engine.Phase{jobs, rest} {
		if len(p.Actions) > 0 {
			plan.Phases = append(plan.Phases, p)
		}
	}
	return plan, kept
}

func remove(o *cluster.Object, why string) engine.Action {
	words := []string{"kubectl", "delete"}
	if o.Namespace != "" {
		words = append(words, "-n", o.Namespace)
	}
	return engine.Action{
		Verb: engine.Delete, Target: o.Target(), Why: why,
		Command: strings.Join(append(words, o.Resource.GroupResource().String()+"/"+o.Name), " "),
	}
}

// HelmCommand returns the command that sets the configuration of an installation
// by Helm (HC castai-hibernate 0.2.12 values.yaml). What the chart has no value
// for is named in missing.
func (in *Installation) HelmCommand(c Configuration) (command string, missing []string) {
	words := []string{"helm", "upgrade", in.Release, "castai-helm/castai-hibernate", "-n", in.Namespace, "--reuse-values"}
	set := func(key, value string) {
		// Helm splits at commas, and the shell at blanks.
		words = append(words, "--set-string", quote(key+"="+strings.ReplaceAll(value, ",", `\,`)))
	}
	was := in.Configuration
	for _, v := range []struct{ key, was, is string }{
		{"pauseCronSchedule", was.Pause, c.Pause}, {"resumeCronSchedule", was.Resume, c.Resume}, {"timeZone", was.TimeZone, c.TimeZone},
		{"hibernateNode", was.Node, c.Node}, {"hibernateNodeLabels", formatLabels(was.NodeLabels), formatLabels(c.NodeLabels)},
		{"namespacesToKeep", strings.Join(was.NamespacesToKeep, ","), strings.Join(c.NamespacesToKeep, ",")},
		{"protectRemovalDisabled", fmt.Sprint(was.ProtectRemovalDisabled), fmt.Sprint(c.ProtectRemovalDisabled)}, {"apiUrl", was.APIURL, c.APIURL},
	} {
		if v.was != v.is {
			set(v.key, v.is)
		}
	}
	if c.Image != was.Image {
		missing = append(missing, "--image (image.repository and image.tag)")
	}
	return strings.Join(words, " "), missing
}

// quote makes one word of a text for a POSIX shell.
func quote(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(plain, r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,@%+"

// Changes lists what is different in a configuration, as "name: before -> after".
func (c Configuration) Changes(before Configuration) []string {
	var out []string
	is, was := c.rows(), before.rows()
	for _, name := range slices.Sorted(maps.Keys(is)) {
		if is[name] != was[name] {
			out = append(out, fmt.Sprintf("%s: %q -> %q", name, was[name], is[name]))
		}
	}
	return out
}

func (c Configuration) rows() map[string]string {
	return map[string]string{
		"pause-schedule": c.Pause, "resume-schedule": c.Resume, "time-zone": c.TimeZone, "hibernate-node": c.Node,
		"hibernate-node-labels": formatLabels(c.NodeLabels), "namespaces-to-keep": strings.Join(c.NamespacesToKeep, ","),
		"protect-removal-disabled": fmt.Sprint(c.ProtectRemovalDisabled), "api-url": c.APIURL, "image": c.Image,
	}
}

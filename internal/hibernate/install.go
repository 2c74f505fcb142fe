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

// Targets are the objects that all pairs of an installation share.
func Targets(namespace string) []cluster.Ref {
	out := []cluster.Ref{ref("", "ConfigMap", namespace, StateName)}
	for _, m := range sharedManifests(namespace, &Key{}) {
		out = append(out, m.target.Ref)
	}
	return out
}

// Targets are the objects that Install writes for a pair.
func (in *Installation) Targets(name string) []cluster.Ref {
	out := Targets(in.Namespace)
	for _, action := range actions {
		out = append(out, ref("batch", "CronJob", in.Namespace, in.cronJobName(name, action)))
	}
	return out
}

// cronJobName is that of the CronJob of a pair that is there, or is made.
func (in *Installation) cronJobName(name, action string) string {
	if p := in.Pair(name); p != nil && p.cronJobs[action] != nil {
		return p.cronJobs[action].Name
	}
	return cronJobName(name, action)
}

// Install returns the plan that brings a pair to the configuration. Without a key
// the Secret stays as it is.
func (in *Installation) Install(name string, c Configuration, key *Key) *engine.Plan {
	prepare := engine.Phase{Name: "prepare", Title: "Make what the jobs need, with no more rights than that", Gate: true,
		InOrder: true, Timeout: time.Minute}
	schedule := engine.Phase{Name: phaseSchedule, Title: "Set the schedule", Gate: true, InOrder: true,
		Timeout: time.Minute}
	state := ref("", "ConfigMap", in.Namespace, StateName)
	if in.objects[state] == nil {
		m := newManifest("", "ConfigMap", "configmaps", in.Namespace, StateName, map[string]any{"data": maps.Clone(neverRun)})
		prepare.Actions = append(prepare.Actions, m.apply("where the jobs keep their state"))
	}
	for _, m := range sharedManifests(in.Namespace, key) {
		prepare.Actions = append(prepare.Actions, m.apply(purpose[m.target.Kind]))
	}
	for _, action := range []string{actionPause, actionResume} {
		m := c.cronJob(in.Namespace, in.cronJobName(name, action), action)
		schedule.Actions = append(schedule.Actions, m.apply(action+"s"))
	}
	phases := []engine.Phase{prepare}
	if in.admin != nil {
		phases = append(phases, engine.Phase{Name: "rights", Title: "Take away the role admin, which no job needs",
			Timeout: time.Minute, Actions: []engine.Action{remove(in.admin, "it lets the jobs do anything in every namespace")}})
	}
	return &engine.Plan{Phases: append(phases, schedule)}
}

var purpose = map[string]string{
	"Secret": "the API key", "ServiceAccount": "who the jobs are", "Role": "what they may do in their namespace",
	"RoleBinding": "grants it",
	"ClusterRole": "what they may do in the cluster", "ClusterRoleBinding": "grants it",
}

// apply returns the action that makes the object, or makes it so.
func (m manifest) apply(why string) engine.Action {
	return engine.Action{
		Verb: engine.Apply, Target: m.target, Why: why,
		Content: func(context.Context) (map[string]any, error) { return m.content, nil },
	}
}

// Uninstall returns the plan that removes what is there of pairs and is Cast AI's:
// the CronJobs first, so that nothing starts any more, and the state last. What
// all pairs share goes with the last one that uses it: users are the CronJobs that
// stay and do.
func (in *Installation) Uninstall(pairs []*Pair, owned func(cluster.Ref) bool) (plan *engine.Plan, kept []cluster.Ref,
	users []cluster.Ref) {
	jobs := engine.Phase{Name: phaseSchedule, Title: "Remove the CronJobs, and end their Jobs", Gate: true,
		Timeout: 3 * time.Minute}
	rest := engine.Phase{Name: "objects", Title: "Remove what they needed", Gate: true, Timeout: time.Minute}
	state := engine.Phase{Name: "state", Title: "Remove what they have written down", Timeout: time.Minute}
	for _, p := range in.Pairs {
		for _, action := range []string{actionPause, actionResume} {
			switch o := p.cronJobs[action]; {
			case o == nil:
			case !slices.Contains(pairs, p):
				users = append(users, o.Ref())
			case !owned(o.Ref()):
				kept, users = append(kept, o.Ref()), append(users, o.Ref())
			default:
				jobs.Actions = append(jobs.Actions, remove(o, "it is part of the installation"))
			}
		}
	}
	for _, o := range in.others {
		users = append(users, o.Ref())
	}
	for _, o := range in.shared() {
		switch {
		case len(users) > 0:
		case !owned(o.Ref()):
			kept = append(kept, o.Ref())
		case o.Name == StateName:
			state.Actions = append(state.Actions, remove(o, "it is part of the installation"))
		default:
			rest.Actions = append(rest.Actions, remove(o, "it is part of the installation"))
		}
	}
	plan = &engine.Plan{}
	for _, p := range []engine.Phase{jobs, rest, state} {
		if len(p.Actions) > 0 {
			plan.Phases = append(plan.Phases, p)
		}
	}
	return plan, kept, users
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
func (p *Pair) HelmCommand(namespace string, c Configuration) (command string, missing []string) {
	words := []string{"helm", "upgrade", p.Release, "castai-helm/castai-hibernate", "-n", namespace, "--reuse-values"}
	set := func(key, value string) {
		// Helm splits at commas, and the shell at blanks.
		words = append(words, "--set-string", quote(key+"="+strings.ReplaceAll(value, ",", `\,`)))
	}
	was := p.Configuration
	for _, v := range []struct{ key, was, is string }{
		{"pauseCronSchedule", was.Pause, c.Pause}, {"resumeCronSchedule", was.Resume, c.Resume}, {"timeZone", was.TimeZone,
			c.TimeZone},
		{"hibernateNode", was.Node, c.Node}, {"hibernateNodeLabels", formatLabels(was.NodeLabels),
			formatLabels(c.NodeLabels)},
		{"namespacesToKeep", strings.Join(was.NamespacesToKeep, ","), strings.Join(c.NamespacesToKeep, ",")},
		{"protectRemovalDisabled", fmt.Sprint(was.ProtectRemovalDisabled), fmt.Sprint(c.ProtectRemovalDisabled)}, {"apiUrl",
			was.APIURL, c.APIURL},
	} {
		if v.was != v.is {
			set(v.key, v.is)
		}
	}
	if c.Image != was.Image {
		missing = append(missing, "--image (image.repository and image.tag)")
	}
	if c.Keep != was.Keep || !slices.Equal(c.Accept, was.Accept) {
		missing = append(missing, "--keep and --accept (the chart has no value for them)")
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
		"keep": c.Keep, "accept": strings.Join(c.Accept, ","),
	}
}

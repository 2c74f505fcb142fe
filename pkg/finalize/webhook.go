package finalize

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// findWebhooks finds the admission webhooks that would reject what has to be
// done, because nobody answers at their Service and their failure policy is Fail.
// What an answering webhook would say can't be known without asking it.
func (e *examination) findWebhooks() {
	for _, h := range e.obs.hooks() {
		e.findWebhook(h)
	}
}

// hook is an admission webhook, and where it is in its configuration.
type hook struct {
	config *cluster.Object
	index  int
	body   map[string]any
}

// hooks returns all admission webhooks.
func (o *Observation) hooks() []hook {
	var out []hook
	for _, config := range o.Objects {
		if config.Resource.Group != "admissionregistration.k8s.io" || !strings.HasSuffix(config.Resource.Kind,
			"WebhookConfiguration") {
			continue
		}
		webhooks, _ := config.Body["webhooks"].([]any)
		for i, item := range webhooks {
			if w, ok := item.(map[string]any); ok {
				out = append(out, hook{config, i, w})
			}
		}
	}
	return out
}

// name is that of the webhook, not of its configuration.
func (h hook) name() string { s, _ := h.body["name"].(string); return s }

// timeout is how long the API server waits for the webhook (k8s.io/api/admissionregistration/v1: 10 s if it
// does not say).
func (h hook) timeout() time.Duration {
	if seconds, ok := h.body["timeoutSeconds"].(int64); ok {
		return time.Duration(seconds) * time.Second
	}
	return 10 * time.Second
}

// catches tells whether a webhook is called for a request on an object, but for its match conditions, which only
// the server evaluates.
func (o *Observation) catches(h hook, operation, subresource string, obj *cluster.Object) bool {
	return matches(h.body, operation, obj.Resource, subresource) && selects(h.body, "objectSelector", obj.Labels) &&
		o.selectsPlace(h.body, obj)
}

func (e *examination) findWebhook(h hook) {
	config, index, w := h.config, h.index, h.body
	text := func(path ...string) string { s, _, _ := unstructured.NestedString(w, path...); return s }
	// The default in admissionregistration.k8s.io/v1 is Fail.
	if text("failurePolicy") == "Ignore" {
		return
	}
	ns, name := text("clientConfig", "service", "namespace"), text("clientConfig", "service", "name")
	b, known := e.snap.Backend(ns, name)
	if !known || !b.Dead() {
		return
	}
	selected := map[string]bool{} // namespaces
	for _, t := range e.writes() {
		for _, o := range t.objects {
			if _, judged := selected[o.Namespace]; !judged {
				selected[o.Namespace] = e.obs.selectsPlace(w, o)
			}
		}
	}
	for _, t := range e.writes() {
		var hit []*cluster.Object
		for _, o := range t.objects {
			if selected[o.Namespace] && matches(w, t.operation, o.Resource, t.subresource) &&
				selects(w, "objectSelector", o.Labels) {
				hit = append(hit, o)
			}
		}
		if len(hit) == 0 {
			continue
		}
		e.addWebhook(config, hit, &Webhook{
			Configuration: config.Name, Name: text("name"), Service: ns + "/" + name, Operation: t.operation,
			Conditional: w["matchConditions"] != nil,
		}, leaveOut(config, index, w, namespaceOf(hit[0])))
		return // one cause for each webhook is enough
	}
}

func (e *examination) addWebhook(config *cluster.Object, hit []*cluster.Object, w *Webhook, pass string) {
	w.Owned = e.options.owned(config.Ref())
	c := Cause{
		Type: BlockingWebhook, Webhook: w, objects: []*cluster.Object{config}, Objects: groups(hit), Since: e.Since,
		Command: fmt.Sprintf("kubectl delete %s", typeName(config)),
	}
	rejects := "rejects"
	if w.Conditional {
		rejects = "may reject"
	}
	c.Summary = fmt.Sprintf("the webhook %s of %s %s %s every %s of %s, because nobody answers at its Service %s",
		w.Name, config.Resource.Kind, config.Name, rejects, w.Operation, describe(hit), w.Service)
	if w.Owned {
		c.Action, c.Remedy = RemoveWebhook, fmt.Sprintf("remove %s: it is %s's", config.Name, e.options.whose())
		e.add(c)
		return
	}
	w.Owner = owner(config)
	c.Action, c.Blocks = Nothing, !w.Conditional
	c.Remedy = fmt.Sprintf("it is not %s's%s: repair its Service, or let it leave out namespace %s until this is done, or "+
		"remove it if it is not needed any more (%s)", e.options.whose(), of(w.Owner), namespaceOf(hit[0]), c.Command)
	c.Command = pass
	e.add(c)
}

// write is a kind of request that has to be made on objects.
type write struct {
	operation, subresource string
	objects                []*cluster.Object
}

// writes returns what has to pass admission for the namespace to go.
func (e *examination) writes() []write {
	var update, remove []*cluster.Object
	for _, o := range e.objects {
		if len(o.Finalizers) > 0 {
			update = append(update, o)
		}
		// Asking once more for the deletion of a pod is how a kubelet's word is replaced.
		if !o.Terminating() || isPod(o) {
			remove = append(remove, o)
		}
	}
	out := []write{{"UPDATE", "", update}, {"DELETE", "", remove}}
	if e.Object == nil && e.object != nil && e.State == Terminating {
		// The namespace controller, too, ends with it.
		out = append(out, write{"UPDATE", "finalize", []*cluster.Object{e.object}})
	}
	return out
}

// selectsPlace tells whether a webhook is called for the namespace that an object is in,
// or is. For other objects without a namespace, it always is (k8s.io/apiserver v0.36.3
// pkg/admission/plugin/webhook/predicates/namespace).
func (o *Observation) selectsPlace(w map[string]any, obj *cluster.Object) bool {
	name := namespaceOf(obj)
	if name == "" {
		return true
	}
	// Of a namespace that is created again, or can't be read, only this label is certain.
	set := map[string]string{"kubernetes.io/metadata.name": name}
	if ns := o.namespace(name); ns != nil {
		set = ns.Labels
	}
	return selects(w, "namespaceSelector", set)
}

// selects tells whether a selector of the webhook matches; one that can't be
// read does not.
func selects(w map[string]any, field string, set map[string]string) bool {
	m, found, err := unstructured.NestedMap(w, field)
	if err != nil {
		return false
	}
	if !found {
		return true
	}
	var ls metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(m, &ls); err != nil {
		return false
	}
	selector, err := metav1.LabelSelectorAsSelector(&ls)
	return err == nil && selector.Matches(labels.Set(set))
}

// matches holds the rules of a webhook against a request, as the API server
// does (k8s.io/apiserver v0.36.3 pkg/admission/plugin/webhook/predicates/rules).
// A rule on another version matches, too, unless matchPolicy is Exact: then the
// server converts (generic/webhook.go, ShouldCallHook).
func matches(w map[string]any, operation string, r *cluster.Resource, subresource string) bool {
	rules, _ := w["rules"].([]any)
	for _, item := range rules {
		rule, ok := item.(map[string]any)
		if !ok {
			continue
		}
		list := func(field string) []string { s, _, _ := unstructured.NestedStringSlice(rule, field); return s }
		scope, _ := rule["scope"].(string)
		if scope == "Namespaced" && !r.Namespaced || scope == "Cluster" && r.Namespaced {
			continue
		}
		if oneOf(list("operations"), operation) && oneOf(list("apiGroups"), r.Group) &&
			(w["matchPolicy"] != "Exact" || oneOf(list("apiVersions"), r.Version)) &&
			slices.ContainsFunc(list("resources"), func(s string) bool {
				name, sub, _ := strings.Cut(s, "/")
				return (name == "*" || name == r.Name) && (sub == "*" || sub == subresource)
			}) {
			return true
		}
	}
	return false
}

func oneOf(list []string, s string) bool {
	return slices.Contains(list, "*") || slices.Contains(list, s)
}

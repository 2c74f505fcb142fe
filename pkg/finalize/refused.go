package finalize

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// What the server says when admission refuses a write. The texts are those of
// k8s.io/apiserver v0.36.3: pkg/admission/plugin/webhook/errors/statuserror.go
// (denied), pkg/admission/plugin/webhook/error.go (not answered),
// pkg/admission/plugin/policy/validating/dispatcher.go and
// pkg/admission/plugin/policy/generic/policy_dispatcher.go (mutating policies).
var (
	webhookDenied = regexp.MustCompile(`admission webhook "([^"]+)" denied the request`)
	webhookFailed = regexp.MustCompile(`failed calling webhook "([^"]+)"`)
	webhookSilent = regexp.MustCompile(silentWebhook + `"([^"]+)"`)
	policyDenied  = regexp.MustCompile(`ValidatingAdmissionPolicy '([^']+)'(?: with binding '([^']+)')? denied request: ` +
		`(failed to configure)?`)
	mutationFailed = regexp.MustCompile(`\bpolicy ['"]([^'"]+)['"](?: with binding '[^']+')? denied request`)
	invalidObject  = regexp.MustCompile(`^(\S+) "[^"]*" is invalid: `)
)

// webhooksCommand lists the admission webhooks.
const webhooksCommand = "kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations"

// RefusedBy returns the name of the admission webhook that refused a write, or did
// not answer, by what the server said; "" if it was none.
func RefusedBy(answer string) string {
	for _, pattern := range []*regexp.Regexp{webhookDenied, webhookFailed, webhookSilent} {
		if m := pattern.FindStringSubmatch(answer); m != nil {
			return m[1]
		}
	}
	return ""
}

// refuser is who refuses a write, as far as the answer tells.
type refuser struct {
	what    string // in a sentence: "the ... refuses"
	remedy  string
	command string
	look    string
	webhook string // the name of the webhook, if it is one
	// definition is the one whose schema refuses; offered: it can be relaxed.
	definition string
	offered    bool
}

// readRefusal finds out from an answer who refuses, and what relaxes it for this
// namespace.
func (e *examination) readRefusal(answer string, o *cluster.Object) refuser {
	if r, ok := refusingPolicy(answer, o); ok {
		return r
	}
	if name := RefusedBy(answer); name != "" {
		return e.refusingWebhook(name, !webhookDenied.MatchString(answer), o)
	}
	if strings.Contains(answer, silentWebhooks) {
		return refuser{what: "one of several admission webhooks", look: webhooksCommand,
			remedy: "find out which of them does not answer, and repair it, or let it leave out " + place(o) +
				" until this is done"}
	}
	if invalidObject.MatchString(answer) && custom(o.Resource.Group) {
		return e.schemaRefuser(o)
	}
	return refuser{what: "the API server", remedy: "remove what refuses it", look: describeCommand(o)}
}

// refusingPolicy reads the refusal of an admission policy. One that itself fails, for want of what
// its paramKind names, or that mutates and can't, refuses whatever its binding says: only its
// failurePolicy lets writes pass.
func refusingPolicy(answer string, o *cluster.Object) (r refuser, ok bool) {
	if m := policyDenied.FindStringSubmatch(answer); m != nil {
		if m[2] == "" || m[3] != "" {
			return failingPolicy("ValidatingAdmissionPolicy", m[1]), true
		}
		return refuser{
			what:   fmt.Sprintf("the ValidatingAdmissionPolicy %s, by its binding %s,", m[1], m[2]),
			remedy: fmt.Sprintf("let the policy pass %s, or let its binding only report until this is done", place(o)),
			command: fmt.Sprintf("kubectl patch validatingadmissionpolicybinding %s --type=merge "+
				`-p '{"spec":{"validationActions":["Audit"]}}'`, m[2]),
		}, true
	}
	if m := mutationFailed.FindStringSubmatch(answer); m != nil {
		return failingPolicy("MutatingAdmissionPolicy", m[1]), true
	}
	return r, false
}

func failingPolicy(kind, name string) refuser {
	return refuser{
		what:   fmt.Sprintf("the %s %s, which itself fails,", kind, name),
		remedy: "repair the policy, remove it if it is not needed any more, or let its failure be ignored until this is done",
		command: fmt.Sprintf(`kubectl patch %s %s --type=merge -p '{"spec":{"failurePolicy":"Ignore"}}'`,
			strings.ToLower(kind), name),
	}
}

// refusingWebhook finds the configuration of a webhook and how to leave out the
// namespace.
func (e *examination) refusingWebhook(name string, silent bool, o *cluster.Object) refuser {
	r := refuser{webhook: name, what: "the admission webhook " + name}
	for _, h := range e.obs.hooks() {
		if h.name() != name {
			continue
		}
		r.what = fmt.Sprintf("the webhook %s of %s %s", name, h.config.Resource.Kind, h.config.Name)
		if by := owner(h.config); by != "" {
			r.what += " (" + by + ")"
		}
		r.remedy = fmt.Sprintf("let the webhook leave out %s until this is done", place(o))
		if silent {
			r.remedy = "repair the webhook, or " + r.remedy
		}
		if r.command = leaveOut(h.config, h.index, h.body, namespaceOf(o)); namespaceOf(o) == "" {
			r.command = "kubectl edit " + typeName(h.config) // a namespace selector does not tell such objects apart
		}
		return r
	}
	r.remedy = "repair the webhook, or remove its configuration if it is not needed any more"
	r.look = webhooksCommand
	return r
}

// place is what admission can be told to leave out so that it lets a write on an object
// pass: its namespace, or itself.
func place(o *cluster.Object) string {
	if ns := namespaceOf(o); ns != "" {
		return "namespace " + ns
	}
	return o.Ref().String()
}

// leaveOut is the command that makes a webhook leave out a namespace. What its
// selector says already stays.
func leaveOut(config *cluster.Object, index int, w map[string]any, ns string) string {
	old, _, _ := unstructured.NestedSlice(w, "namespaceSelector", "matchExpressions")
	selector, _, _ := unstructured.NestedMap(w, "namespaceSelector")
	if selector == nil {
		selector = map[string]any{}
	}
	selector["matchExpressions"] = append(slices.Clone(old), map[string]any{
		"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": []any{ns},
	})
	// What came from JSON always marshals.
	patch, _ := json.Marshal([]any{map[string]any{
		"op": "add", "path": fmt.Sprintf("/webhooks/%d/namespaceSelector", index), "value": selector,
	}})
	return fmt.Sprintf("kubectl patch %s --type=json -p %s", typeName(config), quote(string(patch)))
}

// findRefusals makes a cause of each class of objects from which the server refuses
// to remove a finalizer that is to be removed.
func (e *examination) findRefusals() {
	type key struct{ who, kind string }
	seen := map[key]bool{}
	for _, c := range slices.Clone(e.Causes) {
		if c.Type != Finalizer || c.Action != ClearFinalizers && !c.Asks {
			continue
		}
		for _, o := range c.objects {
			s := e.obs.Samples[classOf(o, c.Finalizer)]
			if !s.refuses(o) {
				continue
			}
			r := e.readRefusal(s.Refused, o)
			k := key{r.what, o.Resource.GroupResource().String()}
			if seen[k] || e.blames(r.webhook) {
				continue
			}
			seen[k] = true
			var hit []*cluster.Object
			for _, other := range c.objects {
				if s := e.obs.Samples[classOf(other, c.Finalizer)]; other.Resource == o.Resource && s.refuses(other) {
					hit = append(hit, other)
				}
			}
			refusal := Cause{
				Type: RefusedUpdate, Action: Nothing, Blocks: true, Since: c.Since, objects: hit, Finalizer: c.Finalizer,
				Summary: fmt.Sprintf("%s refuses the removal of the finalizer %s from %s: %s", r.what, c.Finalizer,
					describe(hit), s.Refused),
				Remedy: r.remedy, Command: r.command, Look: r.look,
			}
			if r.offered && e.options.relaxes(r.definition) {
				refusal.Action, refusal.Blocks, refusal.definition = RelaxSchema, false, e.obs.Schemas[r.definition]
				refusal.Remedy = "relax the schema for all of its objects until this is done, and put it back (by hand: " +
					putBackAction(refusal.definition).Command + ")"
			}
			e.add(refusal)
		}
	}
}

// blames tells whether a cause names the webhook already.
func (e *examination) blames(webhook string) bool {
	return webhook != "" && slices.ContainsFunc(e.Causes, func(c Cause) bool {
		return c.Webhook != nil &&
			c.Webhook.Name == webhook
	})
}

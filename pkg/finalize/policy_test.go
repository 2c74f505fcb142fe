package finalize

import (
	"strings"
	"testing"
)

// Each refusal of a policy names the policy, and the way round that works for it.
func TestPolicies(t *testing.T) {
	const audit = `kubectl patch validatingadmissionpolicybinding b --type=merge -p '{"spec":{"validationActions":["Audit"]}}'`
	ignore := func(kind string) string {
		return "kubectl patch " + kind + ` p --type=merge -p '{"spec":{"failurePolicy":"Ignore"}}'`
	}
	for answer, want := range map[string]struct{ names, command string }{
		"ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no": {"Policy p, by its binding b", audit},
		"ValidatingAdmissionPolicy 'p' denied request: failed to configure policy: failed to find resource": {
			"ValidatingAdmissionPolicy p", ignore("validatingadmissionpolicy")},
		"ValidatingAdmissionPolicy 'p' with binding 'b' denied request: failed to configure binding: no params": {
			"ValidatingAdmissionPolicy p", ignore("validatingadmissionpolicy")},
		"policy 'p' with binding 'b' denied request: expression 'x' resulted in error": {
			"MutatingAdmissionPolicy p", ignore("mutatingadmissionpolicy")},
		`policy "p" denied request: failed to configure policy: paramKind not known`: {
			"MutatingAdmissionPolicy p", ignore("mutatingadmissionpolicy")},
		"something else": {"the API server refuses", ""},
	} {
		w := newWorld()
		w.namespace("x")
		w.samples[classOf(w.add("configmaps", "x", "a", deleting, held("example.com/hold")), "example.com/hold")] =
			Sample{Refused: `configmaps "a" is forbidden: ` + answer}
		d := diagnose(t, w, "x", options())
		c := d.Causes[len(d.Causes)-1]
		if c.Type != RefusedUpdate || !strings.Contains(c.Summary, want.names) || c.Command != want.command {
			t.Errorf("%s:\n%s → %s: %s. %s. %s", answer, c.Type, c.Action, c.Summary, c.Remedy, c.Command)
		}
	}
}

// A pod that a policy keeps from being deleted is the cause, and not what the rest waits for.
func TestPolicyThatKeepsAPod(t *testing.T) {
	refusal := `pods "p" is forbidden: ValidatingAdmissionPolicy 'keep' with binding 'all' denied request: no`
	w := newWorld()
	w.namespace("x", conditionsOf("NamespaceDeletionContentFailure", "True",
		"Failed to delete all resource types, 1 remaining: "+refusal))
	w.samples[classOf(w.add("pods", "x", "p", onNode("n")), "")] = Sample{Refused: refusal}
	w.add("nodes", "", "n", ready("True"))
	w.add("configmaps", "x", "a")
	d := diagnose(t, w, "x", options())
	checkCauses(t, d, []want{
		{NotDeleting, Wait, false, []string{"ConfigMap a: not deleted yet, because pods remain", "they follow the pods"}},
		{NotDeleting, Nothing, true, []string{"Pod p: the namespace controller can't delete them",
			"ValidatingAdmissionPolicy keep, by its binding all", "validatingadmissionpolicybinding all"}},
	})
	if !d.Stuck() {
		t.Error("it is not stuck")
	}
}

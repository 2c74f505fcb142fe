package finalize

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// typeName returns TYPE[.GROUP]/NAME, as kubectl takes it.
func typeName(o *cluster.Object) string { return o.Resource.GroupResource().String() + "/" + o.Name }

// program is a command of the plugin as a user types it.
func program(command string) string { return "kubectl castai " + command }

// describeCommand shows an object with its events.
func describeCommand(o *cluster.Object) string {
	return "kubectl describe " + typeName(o) + inNamespace(o.Namespace)
}

// stripCommand removes the named finalizers of one object and keeps the others.
func stripCommand(o *cluster.Object, names []string) string {
	keep := slices.DeleteFunc(slices.Clone(o.Finalizers), func(f string) bool { return slices.Contains(names, f) })
	if keep == nil {
		keep = []string{}
	}
	// A list of strings always marshals.
	list, _ := json.Marshal(keep)
	return fmt.Sprintf(`kubectl patch %s%s --type=merge -p %s`, typeName(o), inNamespace(o.Namespace),
		quote(`{"metadata":{"finalizers":`+string(list)+`}}`))
}

// finalizeCommand clears both lists of finalizers of a namespace.
func finalizeCommand(name string) string {
	return fmt.Sprintf(`kubectl get namespace %s -o json | jq '.spec.finalizers=[] | .metadata.finalizers=[]' | kubectl replace --raw /api/v1/namespaces/%[1]s/finalize -f -`, name)
}

// quote makes one word of s for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

package hibernate

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// somebody makes a ServiceAccount that has the roles of a file in docs/rbac, as a
// change leaves them, and no others, and returns the flag that runs a command as it.
func somebody(t *testing.T, file string, change ...string) string {
	t.Helper()
	content, err := os.ReadFile("../../../docs/rbac/" + file + ".yaml")
	check(t, err)
	roles := strings.NewReplacer(change...).Replace(string(content))
	bindings := "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: somebody, namespace: default}\n"
	for _, kind := range []string{"ClusterRole", "Role"} {
		if strings.Contains(roles, "kind: "+kind+"\n") {
			bindings += fmt.Sprintf(`---
apiVersion: rbac.authorization.k8s.io/v1
kind: %[1]sBinding
metadata: {name: somebody, namespace: castai-agent}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: %[1]s, name: castai-%[2]s}
subjects: [{kind: ServiceAccount, name: somebody, namespace: default}]
`, kind, file)
		}
	}
	check(t, server.Apply(t.Context(), roles+bindings))
	t.Cleanup(func() {
		_, err := server.Kubectl(context.Background(), "delete", "--ignore-not-found", "-n", "castai-agent",
			"clusterrolebinding/somebody", "clusterrole/castai-"+file, "rolebinding/somebody", "role/castai-"+file)
		if err != nil {
			t.Error(err)
		}
	})
	return "--as=system:serviceaccount:default:somebody"
}

// onlyPauses is the change that takes away what only install, set, uninstall,
// --in-cluster and logs need.
func onlyPauses() (change []string) {
	for _, resources := range []string{
		"secrets", "serviceaccounts", "secrets, serviceaccounts", "cronjobs, jobs", "cronjobs", "jobs", "pods/log",
		"clusterrolebindings, clusterroles, rolebindings, roles", "clusterrolebindings, clusterroles", "rolebindings, roles",
	} {
		change = append(change, "["+resources+"]", "[limitranges]")
	}
	return change
}

// Who may not do it all is told so before anything is written, and whoever can't
// see it all does not take it for absent.
func TestMissingRights(t *testing.T) {
	withAgent(t)
	const getSecrets = "resources: [secrets]\n  verbs: [get, list]"
	for name, tc := range map[string]struct {
		file   string
		change []string
		args   []string
		code   int
		want   string
	}{
		"only looks": {file: "status", args: []string{"install", "--yes", asksNobody}, code: 3, want: "kind: ClusterRole"},
		"sees those of one namespace": {
			change: []string{getSecrets, "resources: [limitranges]\n  verbs: [list]",
				"[secrets, serviceaccounts]\n  verbs: [create,", "[secrets, serviceaccounts]\n  verbs: [list, create,"},
			args: []string{"install", "--yes", asksNobody}, code: 3, want: "secrets can't be read",
		},
		"reads no release": {change: []string{getSecrets, "resources: [secrets]\n  verbs: [list]"},
			args: []string{"install", "--yes", asksNobody}, code: 1, want: "can't read the Helm release"},
		"sees no CronJobs": {change: []string{"[cronjobs, jobs]", "[jobs]", `["cronjobs"]`, "[limitranges]"},
			args: []string{"status"}, code: 1, want: "cronjobs.batch can't be read"},
		"may not make a Role": {change: []string{"[rolebindings, roles]", "[rolebindings]"},
			args: []string{"install", "--yes", asksNobody}, code: 3, want: "- roles"},
		"may not write nodes": {change: []string{"[nodes]\n  verbs: [patch]", "[nodes]\n  verbs: [get]"},
			args: []string{"install", "--yes", asksNobody}, code: 1, want: "attempting to grant RBAC permissions not currently held"},
		"sees no other's Role": {change: []string{"rolebindings, roles]\n  verbs: [list]", "rolebindings]\n  verbs: [list]"},
			args: []string{"uninstall", "--yes"}, code: 3, want: "roles.rbac.authorization.k8s.io can't be read"},
	} {
		t.Run(name, func(t *testing.T) {
			r := hibernate(t, tc.code, append(tc.args, somebody(t, cmp.Or(tc.file, "hibernate"), tc.change...))...)
			if !strings.Contains(r.Stderr, tc.want) {
				t.Errorf("%q is not said: %s", tc.want, r)
			}
			crons, err := client.BatchV1().CronJobs("castai-agent").List(t.Context(), metav1.ListOptions{})
			if check(t, err); len(crons.Items) > 0 {
				t.Error("CronJobs were made")
			}
		})
	}
}

package attack

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/test/compare"
	"github.com/castai/kubectl-castai/test/fixtures"
)

// inside is what the administrator of castai-agent writes there: newer revisions of
// the real releases, which list what is not theirs, and copies of everything else.
func inside(t *testing.T) string {
	t.Helper()
	const ns = "castai-agent"
	hooks := strings.Split(strings.TrimPrefix(in(ns, others), "---\n"), "---\n")
	return record(t, ns, "castai-agent", "castai-agent", 99, in(ns, others), hooks...) +
		record(t, ns, "castai", "castai", 1, in(ns, others), hooks...) +
		record(t, ns, "acme", "pod-mutator", 99, mine) + in(ns, `---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: robot
  namespace: TENANT
  labels: {helm.sh/chart: castai-agent-0.153.2, app.kubernetes.io/name: castai-agent}
  annotations: {meta.helm.sh/release-name: castai-agent, meta.helm.sh/release-namespace: TENANT}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: x, namespace: TENANT}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: pod-reader}
subjects: [{kind: ServiceAccount, name: castai-agent, namespace: TENANT}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data-castai-agent-0, namespace: TENANT}
spec: {storageClassName: liqo, volumeName: TENANT-data, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`)
}

// The administrator of castai-agent, and of nothing else, can decide about nothing
// outside of it, and not about what its own administrator put there to bound him.
func TestInside(t *testing.T) {
	takeOut(t)
	const ns = "castai-agent"
	before := server.Snapshot(t)
	server.Install(t, fixtures.Small)
	owned, err := fixtures.OwnedRefs(fixtures.Small)
	check(t, err)
	who := tenant(t, ns)
	bounds := []cluster.Ref{
		{Kind: "ResourceQuota", Namespace: ns, Name: "limits"}, {Kind: "LimitRange", Namespace: ns, Name: "limits"},
	}
	outside := func(r cluster.Ref) bool { return outsideOf(ns)(r) || slices.Contains(bounds, r) }

	t.Run("huge records", func(t *testing.T) { hugeRecords(t, who) })
	calm := decisions(t)
	who.apply(t, inside(t))
	now := decisions(t)
	// A release of somebody else's that lists Cast AI's objects is a reason to ask: it
	// could put them back.
	delete(now, decision{what: "blocked by gitops"})
	same(t, calm, now, outside)
	for d := range now {
		if slices.Contains(bounds, d.object) && strings.HasPrefix(d.what, "is owned") {
			t.Errorf("%s %s", d.object, d.what)
		}
	}

	installed := server.Settled(t)
	admin.Expect(
		t, 4,
		append(
			[]string{"offboard", "--yes", "--accept=data", "--accept=gitops",
				"--backup-dir=" + filepath.Join(t.TempDir(), "saved")}, quick...,
		)...,
	)
	after := server.Settled(t)
	r := compare.Offboarding(before, installed, after, owned)
	r.Touched = slices.DeleteFunc(r.Touched, func(id string) bool {
		// A webhook that calls the agent's own Service goes with the agent, whoever made it:
		// only administrators write webhooks, and the plan has it without this tenant, too.
		return strings.Contains(id, "/"+ns+"/") && !strings.HasSuffix(id, "/limits") ||
			strings.HasSuffix(id, "/"+ns+"-policies")
	})
	r.Left = slices.DeleteFunc(
		r.Left, func(id string) bool { return strings.Contains(id, "/"+ns+"/") || id == "Namespace/"+ns },
	)
	untouched(t, r)
}

// hugeRecords fills a home with records of Helm's that unpack to gigabytes, and whose
// documents are as slow to read as any: they hold nobody up.
func hugeRecords(t *testing.T, who person) {
	t.Helper()
	const namespace = "castai-agent"
	status := func() time.Duration {
		start := time.Now()
		admin.Expect(t, 0, "status")
		return time.Since(start)
	}
	list := "---\napiVersion: v1\nkind: X\nmetadata: {name: x}\nspec: [" + strings.Repeat("[],", 300_000) + "]\n"
	calm := status()
	args := []string{"delete", "secret", "-n", namespace}
	for i := range 20 {
		name := "r" + itoa(i)
		who.apply(t, record(t, namespace, "castai-agent", name, 1, strings.Repeat(list, 15)))
		args = append(args, "sh.helm.release.v1."+name+".v1")
	}
	if took := status(); took > calm+10*time.Second {
		t.Errorf("status takes %v, and without these records %v", took, calm)
	}
	if r := who.kubectl(t, args...); r.Code != 0 {
		t.Errorf("%s", r)
	}
}

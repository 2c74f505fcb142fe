package unstick

import (
	"context"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// What makes no difference: objects that are immutable, near the limit of size, invalid
// in a field that nobody touches, of a version that is not served any more, or a part of
// a chain that is deleted in the foreground or orphans, in a namespace with the longest
// name. All of it is freed by one command, and by two at once. (unstuck frees it, too,
// but says of some that they are gone already.)
func TestOrdinary(t *testing.T) {
	t.Parallel()
	manifest := strings.Replace(definition(cogs.Group, cogs.Resource, "Cog"), "type: object, x-kub",
		"type: object, properties: {color: {type: string}}, x-kub", 1)
	define(t, manifest, "cogs.plain.example.com")
	ns := "longest-" + strings.Repeat("x", 63-len("longest-"))
	create(t, namespaces, "", ns, nil)
	create(t, configMaps, ns, "immutable", map[string]any{"immutable": true, "data": map[string]any{"a": "b"}}, hold)
	create(t, configMaps, ns, "large", map[string]any{"data": map[string]any{"a": strings.Repeat("x", 1_000_000)}}, hold)
	create(t, configMaps, ns, "orphans", nil, "orphan", hold)
	create(t, cogs, ns, "invalid", map[string]any{"color": "green"}, hold)
	owner := create(t, configMaps, ns, "owner", nil, hold)
	create(t, configMaps, ns, "dependent", map[string]any{"metadata": map[string]any{"ownerReferences": []any{
		map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": string(owner.GetUID()),
			"blockOwnerDeletion": true},
	}}}, hold)
	policy := metav1.DeletePropagationForeground
	if err := resource(configMaps, ns).Delete(t.Context(), "owner",
		metav1.DeleteOptions{PropagationPolicy: &policy}); err != nil {
		t.Fatal(err)
	}
	// The definition changes: the value is not allowed any more, and another version is
	// the one that is served.
	strict := strings.Replace(manifest, "{type: string}", "{type: string, enum: [red]}", 1)
	strict = strings.Replace(strict, "served: true", "served: false", 1) + second(strict)
	if err := server.Apply(t.Context(), strict); err != nil {
		t.Fatal(err)
	}
	v2 := cogs.GroupResource().WithVersion("v2")
	eventually(t, func(ctx context.Context) (bool, error) {
		_, err := resource(v2, ns).Patch(ctx, "invalid", types.MergePatchType, []byte(`{"color":"blue"}`),
			metav1.PatchOptions{DryRun: []string{"All"}})
		return err != nil && strings.Contains(err.Error(), "Unsupported value"), nil
	})
	begin(t, ns)
	var both errgroup.Group
	for range 2 {
		both.Go(func() error {
			r, err := admin.Castai(t.Context(), "unstick-ns", ns, "--yes", "--no-backup", "--patience=2s")
			if err == nil && r.Code != 0 {
				t.Errorf("%s", r)
			}
			return err
		})
	}
	if err := both.Wait(); err != nil {
		t.Fatal(err)
	}
	until(t, namespaces, ns, gone)
	list, err := resource(v2, ns).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) > 0 {
		t.Errorf("%d are orphaned, %v", len(list.Items), err)
	}
}

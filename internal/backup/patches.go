package backup

import (
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/offboard"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// patched are the fields that an offboarding changes in objects that it does not
// delete at once, by kind: those by which it stops workloads, and those of the
// marks that it takes back. What else a folder names as changed was edited in:
// restore would write any value into any object of that name and UID.
var patched = func() map[string][]string {
	const annotations, template = "metadata.annotations.", "spec.template.spec."
	out := map[string][]string{}
	for _, kind := range []string{"Deployment.apps", "StatefulSet.apps", "DaemonSet.apps", "CronJob.batch", "Job.batch"} {
		out[kind] = []string{
			"spec.replicas", "spec.suspend", template + "nodeSelector." + offboard.StopLabel, annotations +
				offboard.StoppedAnnotation,
		}
	}
	for kind, fields := range ownership.MarkedFields() {
		out[kind] = append(out[kind], fields...)
	}
	return out
}()

// checkPatches refuses an entry whose patches change what no offboarding does.
func checkPatches(e *Entry) error {
	allowed := patched[e.GroupKind().String()]
	for _, patch := range e.Patches {
		for _, field := range leaves(patch, "") {
			if field != "metadata.uid" && field != "metadata.resourceVersion" && !slices.Contains(allowed, field) {
				return refuse("the index says that the offboarding changed %s of %s, which none does: somebody has edited it",
					field, e.Ref)
			}
		}
	}
	return nil
}

// leaves lists the fields that a merge patch sets or removes.
func leaves(patch map[string]any, path string) []string {
	var out []string
	for key, value := range patch {
		here := strings.TrimPrefix(path+"."+key, ".")
		if inner, ok := value.(map[string]any); ok && len(inner) > 0 {
			out = append(out, leaves(inner, here)...)
			continue
		}
		out = append(out, here)
	}
	slices.Sort(out)
	return out
}

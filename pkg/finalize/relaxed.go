package finalize

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// findRelaxed reads the definitions on which a run has written what it took off their schema.
func (o *Observation) findRelaxed(ctx context.Context, c Reader) {
	for _, obj := range o.Objects {
		if !isDefinition(obj.Ref()) || len(takenOff(obj)) == 0 {
			continue
		}
		if crd, err := c.Get(ctx, obj.Target(), schemaFields...); err == nil { // else it is gone, or may not be read
			o.Relaxed = append(o.Relaxed, crd)
		}
	}
}

// StillRelaxed says of each definition whose schema a run has relaxed and not put back, as one that was killed, how
// that is done by hand. What somebody has written into the schema since stays.
func (o *Observation) StillRelaxed() []string {
	var out []string
	for _, crd := range o.Relaxed {
		taken := slices.DeleteFunc(takenOff(crd), func(k keyword) bool {
			return slices.ContainsFunc(versionsOf(crd), func(v any) bool {
				root, version := rootOf(v)
				return version == k.Version && root[k.Name] != nil
			})
		})
		unmark := map[string]any{"op": "remove",
			"path": "/metadata/annotations/" + strings.ReplaceAll(RelaxedAnnotation, "/", "~1")}
		out = append(out, fmt.Sprintf("the schema of the CustomResourceDefinition %s was relaxed by a run that has not put it "+
			"back: unless one is still at work, %s", crd.Name, patchSchema(crd.Name, "add", crd, taken, unmark)))
	}
	return out
}

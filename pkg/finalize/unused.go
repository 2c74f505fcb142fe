package finalize

import (
	"fmt"
	"maps"
	"slices"
)

// Unused says of each name that was given (finalizers, and what the options name) if nothing that was judged has it.
// mistyped tells whether of one kind of names nothing has any, while there is something else that could be named.
func Unused(obs *Observation, ds []*Diagnosis, finalizers []string, o Options) (says []string, mistyped bool) {
	held, apis := map[string]bool{}, map[string]bool{}
	for _, d := range ds {
		for _, obj := range d.objects {
			for _, f := range obj.Finalizers {
				held[f] = true
			}
		}
		for _, f := range slices.Concat(d.MetadataFinalizers, d.SpecFinalizers) {
			held[f] = true
		}
		for _, c := range d.Causes {
			if name := c.APIService(); name != "" {
				apis[name] = true
			}
		}
	}
	delete(held, "kubernetes") // never removed by its name
	definitions := map[string]bool{}
	for name := range obs.Schemas {
		definitions[name] = true
	}
	for _, kind := range []struct {
		names []string
		there map[string]bool
		says  string
	}{
		{finalizers, held, "nothing has the finalizer %s"},
		{o.RemoveAPIServices, apis, "no APIService %s is in the way"},
		{o.RelaxSchemas, definitions, "no schema of a CustomResourceDefinition %s refuses anything"},
	} {
		var missing int
		for _, name := range kind.names {
			if kind.there[name] {
				continue
			}
			missing++
			line := fmt.Sprintf(kind.says, name)
			if there := slices.Sorted(maps.Keys(kind.there)); len(there) > 0 {
				line += ", only " + enumerate(firstFew(there))
			}
			says = append(says, line)
		}
		mistyped = mistyped || missing > 0 && missing == len(kind.names) && len(kind.there) > 0
	}
	return says, mistyped
}

// firstFew shortens a list for a sentence.
func firstFew(names []string) []string {
	if len(names) > 5 {
		return append(slices.Clone(names[:4]), fmt.Sprintf("%d more", len(names)-4))
	}
	return names
}

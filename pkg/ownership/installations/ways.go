package installations

import "strings"

// Way is one way in which a chart gets into a cluster.
type Way struct{ Helm, Release, Namespace, Roof string }

// The values of a way.
var (
	Helms      = []string{"Helm", "record gone", "never Helm"}
	Releases   = []string{"default release", "other release", "other release in names"}
	Namespaces = []string{"default namespace", "other namespace"}
	Roofs      = []string{"alone", "in Cast AI's umbrella", "in a user's umbrella", "aliased"}
)

// Ways returns all ways.
func Ways() []Way {
	var out []Way
	for _, helm := range Helms {
		for _, release := range Releases {
			for _, ns := range Namespaces {
				for _, roof := range Roofs {
					out = append(out, Way{helm, release, ns, roof})
				}
			}
		}
	}
	return out
}

// Users tells whether somebody's own chart holds it.
func (w Way) Users() bool { return w.Roof == Roofs[2] || w.Roof == Roofs[3] }

// String lists the values.
func (w Way) String() string {
	return strings.Join([]string{w.Helm, w.Release, w.Namespace, w.Roof}, ", ")
}

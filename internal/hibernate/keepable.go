package hibernate

import "slices"

// Keepable returns which of the namespaces that are to be kept have anything of their
// own to keep, and which are not there. What runs through every pause moves to the node
// that the cluster sleeps on, and needs no further one.
func (s *State) Keepable(list []string) (keep, missing []string) {
	for _, ns := range list {
		switch {
		case slices.Contains(alwaysKept, ns), ns == s.Namespace:
		case !slices.Contains(s.Namespaces, ns):
			missing = append(missing, ns)
		default:
			keep = append(keep, ns)
		}
	}
	return keep, missing
}

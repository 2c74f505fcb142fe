package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrKind is the error of a TYPE that means no kind of the cluster, or several.
var ErrKind = errors.New("the type means no kind, or several")

// kindError is an ErrKind in words.
type kindError struct{ message string }

func (e *kindError) Error() string        { return e.message }
func (e *kindError) Is(target error) bool { return target == ErrKind }

// Locate returns the kind that a TYPE means as kubectl takes it: its kind, plural,
// singular or a short name, with the group, or version and group, behind a dot where
// that is needed. The error says that there is no such kind, or several: ErrKind, unless
// one that can't be discovered may be meant.
func (c *Client) Locate(typed string) (*Resource, error) {
	resources, unreadable, err := c.discover(true)
	if err != nil {
		return nil, c.explain(err)
	}
	name, group, _ := strings.Cut(typed, ".")
	var found []*Resource
	for _, r := range resources {
		if r.Called(name) && (group == "" || group == r.Group || group == r.Version+"."+r.Group) {
			found = append(found, r)
		}
	}
	// Several groups serve some kinds, Kubernetes' own first: Events and Ingresses.
	slices.SortStableFunc(found, func(a, b *Resource) int { return strings.Compare(a.Group, b.Group) })
	switch {
	case len(found) == 1, len(found) > 1 && found[0].Group == "":
		return found[0], nil
	case len(found) > 1:
		return nil, &kindError{fmt.Sprintf("%q may be %s or %s: write the group, too", typed, found[0].GroupResource(),
			found[1].GroupResource())}
	case len(unreadable) > 0:
		return nil, fmt.Errorf("there is no kind %q among those that can be discovered, but %s does not answer (%s)",
			typed, unreadable[0].What, unreadable[0].Message)
	}
	return nil, &kindError{fmt.Sprintf("the cluster has no kind %q: kubectl api-resources lists them", typed)}
}

package finalize

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Conversion is a CustomResourceDefinition whose conversion webhook does not work.
// Its objects can be read only in the version in which they are stored, and while
// there is one the namespace controller finishes no namespace of the cluster: the
// API server can't fill its cache of that version, for which every list waits
// (k8s.io/apiserver v0.36.3 pkg/storage/cacher).
type Conversion struct {
	Definition string // plural.group
	Message    string
	Service    string // namespace/name; empty: it is called by its URL
	Storage    string // the version that is stored
	// Objects are those of the whole cluster, read in the version that is stored.
	Objects []*cluster.Object
	// Unread says why they can't be read even there; empty: they were.
	Unread string
}

// conversionFailed begins or is in the answer of the API server when a conversion
// webhook does not work (k8s.io/apiextensions-apiserver v0.36.3
// pkg/apiserver/conversion/webhook_converter.go).
const conversionFailed = "conversion webhook for "

// hung tells whether something may keep the namespace controller from finishing a
// namespace that no object in it explains.
func (o *Observation) hung(names []string) bool {
	if o.conversionFails() {
		return true
	}
	held := map[string]bool{}
	for _, obj := range o.Objects {
		held[obj.Namespace] = held[obj.Namespace] || len(obj.Finalizers) > 0
	}
	return slices.ContainsFunc(o.Objects, func(ns *cluster.Object) bool {
		return isNamespace(ns) && slices.Contains(names, ns.Name) && ns.Terminating() && !held[ns.Name] &&
			o.Taken.Sub(ns.Deleting) > controllerDelay
	})
}

// conversionFails tells whether a list said that a conversion webhook does not work.
func (o *Observation) conversionFails() bool {
	return slices.ContainsFunc(o.Unreadable,
		func(u cluster.Unreadable) bool { return strings.Contains(u.Message, conversionFailed) })
}

// findConversions looks for definitions whose conversion webhook does not work. It
// reads every definition, and so only when something hangs.
func (o *Observation) findConversions(ctx context.Context, c Reader) error {
	found, err := o.converting(ctx, c)
	if err != nil || len(found) == 0 {
		return err
	}
	scope := cluster.Scope{Versions: map[string]string{}}
	for name := range found {
		scope.Kinds = append(scope.Kinds, name)
	}
	slices.Sort(scope.Kinds)
	asServed, err := c.Snapshot(ctx, scope)
	if err != nil {
		return err
	}
	scope.Kinds = slices.DeleteFunc(scope.Kinds, func(name string) bool {
		u := unreadable(asServed, name)
		if u == nil || !strings.Contains(u.Message, conversionFailed) {
			return true
		}
		found[name].Message = u.Message
		scope.Versions[name] = found[name].Storage
		return false
	})
	if len(scope.Kinds) == 0 {
		return nil
	}
	asStored, err := c.Snapshot(ctx, scope)
	if err != nil {
		return err
	}
	for _, name := range scope.Kinds {
		conversion := found[name]
		if u := unreadable(asStored, name); u != nil {
			conversion.Unread = u.Message
		}
		for _, obj := range asStored.Objects {
			if obj.Resource.GroupResource().String() == name {
				conversion.Objects = append(conversion.Objects, obj)
			}
		}
		o.Conversions = append(o.Conversions, *conversion)
	}
	return nil
}

// converting returns the definitions that have a conversion webhook.
func (o *Observation) converting(ctx context.Context, c Reader) (map[string]*Conversion, error) {
	out := map[string]*Conversion{}
	var mu sync.Mutex
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(samplesAtOnce)
	for _, obj := range o.Objects {
		if obj.Resource.Kind != "CustomResourceDefinition" {
			continue
		}
		group.Go(func() error {
			crd, err := c.Get(groupCtx, obj.Target(), []string{"spec", "conversion"}, []string{"spec", "versions"})
			if err != nil {
				return groupCtx.Err() // it is gone, or may not be read
			}
			if conversion := conversionOf(crd); conversion != nil {
				mu.Lock()
				defer mu.Unlock()
				out[crd.Name] = conversion
			}
			return nil
		})
	}
	return out, group.Wait()
}

// conversionOf reads a definition; nil: its objects are converted without a webhook.
func conversionOf(crd *cluster.Object) *Conversion {
	text := func(path ...string) string {
		s, _, _ := unstructured.NestedString(crd.Body, append([]string{"spec", "conversion"}, path...)...)
		return s
	}
	if text("strategy") != "Webhook" {
		return nil
	}
	out := &Conversion{Definition: crd.Name}
	if name := text("webhook", "clientConfig", "service", "name"); name != "" {
		out.Service = text("webhook", "clientConfig", "service", "namespace") + "/" + name
	}
	versions, _, _ := unstructured.NestedSlice(crd.Body, "spec", "versions")
	for _, item := range versions {
		if v, ok := item.(map[string]any); ok && v["storage"] == true {
			out.Storage, _ = v["name"].(string)
		}
	}
	return out
}

// findConversions makes a cause of each definition whose conversion webhook does not
// work. It blocks what is not proven to be empty: a namespace with nothing in it can
// be finalized all the same.
func (e *examination) findConversions() {
	for _, c := range e.obs.Conversions {
		if e.subject != nil && c.Definition != e.subject.Resource.GroupResource().String() &&
			c.Definition != e.subject.Name {
			continue // it keeps namespaces, not this object
		}
		var here, there []*cluster.Object
		for _, o := range c.Objects {
			if o.Namespace == e.Namespace {
				here = append(here, o)
			} else {
				there = append(there, o)
			}
		}
		cause := Cause{
			Type: DeadConversion, Action: Nothing, Since: e.Since, Blocks: e.subject != nil || !e.empty(), objects: here,
			Conversion: &DeadWebhook{Definition: c.Definition, Service: c.Service, Storage: c.Storage,
				Objects: len(c.Objects), Message: c.Message},
		}
		who := "its webhook"
		if c.Service != "" {
			who = "its Service " + c.Service
		}
		cause.Summary = fmt.Sprintf("the conversion webhook of CustomResourceDefinition %s does not work (%s), so the "+
			"namespace controller finishes no namespace of the cluster: "+
			"%d objects of it are in this namespace, %d in others", c.Definition, c.Message, len(here), len(there))
		if c.Unread != "" {
			cause.Summary = fmt.Sprintf("the conversion webhook of CustomResourceDefinition %s does not work (%s), so the "+
				"namespace controller finishes no namespace of the cluster, "+
				"and nobody knows which objects of it there are (%s)", c.Definition, c.Message, c.Unread)
		}
		cause.Remedy = fmt.Sprintf("repair %s; or, if all versions of it have the same fields, do without conversion; "+
			"kubectl get %s lists what is stored", who, storedName(c))
		cause.Command = fmt.Sprintf(`kubectl patch crd %s --type=merge -p '{"spec":{"conversion":{"strategy":"None","webhook":null}}}'`, c.Definition)
		e.add(cause)
	}
}

// storedName is how kubectl addresses a kind in the version that is stored.
func storedName(c Conversion) string {
	plural, group, _ := strings.Cut(c.Definition, ".")
	return plural + "." + c.Storage + "." + group + " -A"
}

// stored adds to the content of the namespace what can be read only in the version
// that is stored, and tells for which kinds that worked.
func (e *examination) stored() map[string]bool {
	read := map[string]bool{}
	for _, c := range e.obs.Conversions {
		read[c.Definition] = c.Unread == ""
		for _, o := range c.Objects {
			if o.Namespace == e.Namespace && !slices.ContainsFunc(e.objects,
				func(have *cluster.Object) bool { return have.UID == o.UID }) {
				e.objects = append(e.objects, o)
				e.Content.Objects++
				if o.Terminating() {
					e.Content.Terminating++
				}
			}
		}
	}
	return read
}

package finalize

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// findAPIs makes a cause of each group/version that failed in discovery. While
// there is one, the namespace controller finishes no namespace of the cluster,
// not even one without an object of that group (Kubernetes 1.36.3
// pkg/controller/namespace/deletion, deleteAllContent).
func (e *examination) findAPIs() {
	for _, u := range e.snap.Unreadable {
		if u.GroupVersion == "" {
			continue
		}
		e.Content.Unknown = append(e.Content.Unknown, u.GroupVersion)
		e.addAPI(u)
	}
}

func (e *examination) addAPI(u cluster.Unreadable) {
	gv, err := schema.ParseGroupVersion(u.GroupVersion)
	if err != nil {
		gv = schema.GroupVersion{Group: u.GroupVersion}
	}
	api := &API{GroupVersion: u.GroupVersion, Message: u.Message}
	for _, o := range e.snap.Objects {
		if o.Resource.Group == "apiextensions.k8s.io" && strings.HasSuffix(o.Name, "."+gv.Group) {
			api.CustomResources = append(api.CustomResources, o.Name)
		}
	}
	c := Cause{Type: UnavailableAPI, API: api, Blocks: true, Since: e.Since}
	name := gv.Version + "." + gv.Group
	i := slices.IndexFunc(e.snap.Objects, func(o *cluster.Object) bool {
		return o.Resource.Group == "apiregistration.k8s.io" && o.Name == name
	})
	if i < 0 || len(e.snap.Objects[i].ServiceRefs()) == 0 {
		c.Action = Nothing
		c.Summary = fmt.Sprintf("the API %s does not answer (%s), so the namespace controller can't know what is left in any namespace", u.GroupVersion, u.Message)
		c.Remedy = "repair the API server of that group"
		c.Command = "kubectl get --raw /apis/" + u.GroupVersion
		e.add(c)
		return
	}
	service := e.snap.Objects[i]
	ref := service.ServiceRefs()[0]
	api.APIService, api.Service = name, ref[0]+"/"+ref[1]
	api.Owned = e.options.owned(service.Ref())
	if message, since := unavailable(service); message != "" {
		api.Message, c.Since = message, since
	}
	c.objects = []*cluster.Object{service}
	c.Summary = fmt.Sprintf("the API %s is unavailable (%s), so the namespace controller can't know what is left in any namespace", u.GroupVersion, api.Message)
	c.Command = "kubectl delete apiservice " + name
	told := slices.Contains(e.options.RemoveAPIServices, name)
	switch {
	case api.Owned:
		c.Action, c.Remedy = RemoveAPIService, fmt.Sprintf("remove the APIService %s: it is %s's", name, e.options.whose())
	case told:
		c.Action, c.Remedy = RemoveAPIService, fmt.Sprintf("remove the APIService %s, as told", name)
	default:
		api.Owner = owner(service)
		c.Action = Nothing
		c.Remedy = fmt.Sprintf("it is not %s's%s: repair its Service %s, or if it is not needed any more, pass unstick-ns --remove-apiservice=%s", e.options.whose(), of(api.Owner), api.Service, name)
	}
	if len(api.CustomResources) > 0 {
		c.Remedy += fmt.Sprintf(" (objects of %s may be hidden behind it)", enumerate(api.CustomResources))
	}
	e.add(c)
}

// unavailable returns why an APIService does not work, and since when.
func unavailable(o *cluster.Object) (string, time.Time) {
	list, _, _ := unstructured.NestedSlice(o.Body, "status", "conditions")
	for _, item := range list {
		m, ok := item.(map[string]any)
		if !ok || m["type"] != "Available" || m["status"] == "True" {
			continue
		}
		message, _ := m["message"].(string)
		at, _ := m["lastTransitionTime"].(string)
		// An unreadable time stays zero: it is only shown.
		since, _ := time.Parse(time.RFC3339, at)
		return message, since
	}
	return "", time.Time{}
}

// owner says whose an object seems to be, from what Helm and others write on it.
func owner(o *cluster.Object) string {
	if release := o.Annotations["meta.helm.sh/release-name"]; release != "" {
		return fmt.Sprintf("Helm release %s in namespace %s", release, o.Annotations["meta.helm.sh/release-namespace"])
	}
	for _, key := range []string{"app.kubernetes.io/part-of", "app.kubernetes.io/name", "app"} {
		if v := o.Labels[key]; v != "" {
			return v
		}
	}
	// The field manager of its status is the API server.
	by := slices.DeleteFunc(slices.Clone(o.Managers), isClient)
	if len(by) > 0 {
		return enumerate(by[:min(len(by), 3)])
	}
	return ""
}

// of puts an owner behind "it is not ...'s".
func of(owner string) string {
	if owner == "" {
		return ""
	}
	return " but belongs to " + owner
}

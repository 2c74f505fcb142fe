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
	service := e.obs.apiService(gv.Version + "." + gv.Group)
	if service == nil {
		e.add(Cause{
			Type: UnavailableAPI, API: api, Blocks: true, Since: e.Since, Action: Nothing,
			Summary: fmt.Sprintf("the API %s does not answer (%s), so the namespace controller can't know what is left in "+
				"any namespace", u.GroupVersion, u.Message),
			Remedy: "repair the API server of that group",
			Look:   "kubectl get --raw /apis/" + u.GroupVersion,
		})
		return
	}
	if message, _ := unavailable(service); message != "" && len(api.CustomResources) == 0 && !e.options.Partial {
		e.proven = append(e.proven, u.GroupVersion)
	}
	e.addAPIService(service, api)
}

// addAPIService makes a cause of an aggregated API that does not work.
func (e *examination) addAPIService(service *cluster.Object, api *API) {
	name, ref := service.Name, service.ServiceRefs()[0]
	c := Cause{Type: UnavailableAPI, API: api, Blocks: true, Since: e.Since, objects: []*cluster.Object{service}}
	api.APIService, api.Service = name, ref[0]+"/"+ref[1]
	api.Owned = e.options.owned(service.Ref())
	if message, since := unavailable(service); message != "" {
		api.Message, c.Since = message, since
	}
	c.Summary = fmt.Sprintf("the API %s is unavailable (%s), so the namespace controller can't know what is left in "+
		"any namespace", api.GroupVersion, api.Message)
	c.Command = "kubectl delete apiservice " + name
	told := slices.Contains(e.options.RemoveAPIServices, name)
	switch {
	case api.Owned:
		c.Action, c.Remedy = RemoveAPIService, fmt.Sprintf("remove the APIService %s: it is %s's", name, e.options.whose())
	case told:
		c.Action, c.Remedy = RemoveAPIService, fmt.Sprintf("remove the APIService %s, as told", name)
	default:
		api.Owner = owner(service)
		c.Action, c.Command, c.Look = Nothing, "", "kubectl describe apiservice "+name
		c.Remedy = fmt.Sprintf("it is not %s's%s: repair its Service %s, or if it is not needed any more, run %s "+
			"--remove-apiservice=%s", e.options.whose(), of(api.Owner), api.Service, e.command(), name)
	}
	if len(api.CustomResources) > 0 {
		c.Remedy += fmt.Sprintf(" (objects of %s may be hidden behind it)", enumerate(api.CustomResources))
	}
	e.add(c)
}

// finishProven lets a namespace with nothing in it be finalized although an aggregated
// API is away that holds nothing of it. The APIService stays.
func (e *examination) finishProven() {
	if !e.empty() {
		return
	}
	for i := range e.Causes {
		c := &e.Causes[i]
		if c.Type == UnavailableAPI && c.Action == Nothing && slices.Contains(e.proven, c.API.GroupVersion) {
			c.Blocks, c.Action = false, Finalize
			c.Remedy = "finalize the namespace: nothing else is in it, and no CustomResourceDefinition is in that group; " +
				"the APIService stays; " + c.Remedy
		}
	}
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

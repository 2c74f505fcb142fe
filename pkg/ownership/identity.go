package ownership

import (
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Identity is which cluster Cast AI takes this one for.
type Identity struct {
	ClusterID string `json:"clusterID,omitempty"`
	APIURL    string `json:"apiURL,omitempty"`
	Region    string `json:"region,omitempty"` // us, eu, or empty for any other API
	Provider  string `json:"provider,omitempty"`
	// Sources are the places that name a cluster id, and what they say.
	Sources []IdentitySource `json:"sources,omitempty"`
	// Conflict: the places do not agree, so that ClusterID is empty.
	Conflict bool `json:"conflict,omitempty"`
}

// IdentitySource is one place that names the cluster id.
type IdentitySource struct {
	Object    cluster.Ref `json:"object"`
	ClusterID string      `json:"clusterID"`
}

// The ConfigMaps in which Cast AI's components find the cluster's identity:
// k8s-agent metadata/store.go, cluster-controller chart templates/config.yaml.
var identityConfigMaps = []string{"castai-agent-metadata", "castai-cluster-controller"}

// IdentityFields are the fields of them that are read.
func IdentityFields() [][]string { return [][]string{{"data", "CLUSTER_ID"}, {"data", "API_URL"}} }

// IdentityRecords returns the objects of which IdentityFields must be read
// before Take.
func IdentityRecords(snap *cluster.Snapshot) []*cluster.Object {
	var out []*cluster.Object
	for _, o := range snap.Objects {
		if o.Resource.Group == "" && o.Resource.Kind == "ConfigMap" && slices.Contains(identityConfigMaps, o.Name) {
			out = append(out, o)
		}
	}
	return out
}

// identity collects what the cluster says of itself, in homes that more than
// their names prove.
func (j *judgement) identity() Identity {
	var id Identity
	url := func(s string) {
		if id.APIURL == "" {
			id.APIURL = strings.TrimSpace(s)
		}
	}
	add := func(o *cluster.Object, clusterID string) {
		if clusterID = strings.TrimSpace(clusterID); clusterID != "" {
			id.Sources = append(id.Sources, IdentitySource{o.Ref(), clusterID})
		}
	}
	for _, o := range j.ownedObjects() {
		if o.Namespace != "" && !j.cluster.proven[o.Namespace] {
			continue // whoever may write there, or make such a namespace, could name any cluster
		}
		switch o.Ref().GroupKind().String() {
		case "ConfigMap":
			add(o, str(o.Body, "data", "CLUSTER_ID"))
			url(str(o.Body, "data", "API_URL"))
		case "Cluster.castware.cast.ai":
			add(o, str(o.Body, "spec", "cluster", "clusterID"))
			url(str(o.Body, "spec", "api", "apiUrl"))
			id.Provider = str(o.Body, "spec", "provider")
		}
		spec, ok := podSpec(o)
		if !ok {
			continue
		}
		for _, c := range containers(spec) {
			env, _ := c["env"].([]any)
			for _, e := range env {
				entry, _ := e.(map[string]any)
				value, _ := entry["value"].(string)
				switch entry["name"] {
				case "CLUSTER_ID", "STATIC_CLUSTER_ID", "CASTAI_CLUSTER_ID":
					add(o, value)
				case "API_URL":
					url(value)
				}
			}
		}
	}
	for _, s := range id.Sources {
		if id.ClusterID == "" {
			id.ClusterID = s.ClusterID
		}
		id.Conflict = id.Conflict || s.ClusterID != id.ClusterID
	}
	if id.Conflict {
		id.ClusterID = ""
	}
	switch host := strings.TrimPrefix(id.APIURL, "https://"); {
	case host == "api.cast.ai" || strings.HasPrefix(host, "api.cast.ai/"):
		id.Region = "us"
	case strings.HasPrefix(host, "api.eu.cast.ai"):
		id.Region = "eu"
	}
	return id
}

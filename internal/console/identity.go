package console

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Live is what the kubeconfig's cluster says of itself.
type Live struct {
	KubeSystemUID types.UID
	Nodes         []LiveNode
}

// LiveNode is a Node object with a machine behind it.
type LiveNode struct{ Name, ProviderID string }

// NewLive takes the nodes from the objects of a snapshot, Liqo's virtual ones
// excepted.
func NewLive(kubeSystem types.UID, objects []*cluster.Object) Live {
	l := Live{KubeSystemUID: kubeSystem}
	for _, o := range objects {
		if o.Resource.Group != "" || o.Resource.Kind != "Node" || o.Labels["liqo.io/type"] == "virtual-node" {
			continue
		}
		id, _, err := unstructured.NestedString(o.Body, "spec", "providerID")
		if err != nil {
			id = ""
		}
		l.Nodes = append(l.Nodes, LiveNode{Name: o.Name, ProviderID: id})
	}
	return l
}

// identity is how sure it is that two clusters are one.
type identity int

const (
	unproven identity = iota
	// likely: the nodes say so. A kubelet writes its node's name and provider id,
	// so that this is a check of what the user says, and no proof.
	likely
	same
	different
)

// prove compares the API's cluster with the live one. The sentence says on what
// the answer rests. Only the UID of kube-system proves that they are the same:
// nobody but the API server writes it.
func prove(c castai.Cluster, nodes []castai.Node, live Live) (identity, string) {
	if id := c.Anywhere.KubeSystemNamespaceId; id != "" && live.KubeSystemUID != "" {
		if id == string(live.KubeSystemUID) {
			return same, "kube-system has the UID that the API knows"
		}
		return different, fmt.Sprintf("kube-system has the UID %s, and the API's cluster %s", live.KubeSystemUID, id)
	}
	if text := elsewhere(c, live); text != "" {
		return different, text
	}
	if inNodeGroup(c, live) {
		return likely, fmt.Sprintf("the nodes are in the resource group %s, which is that of the API's cluster",
			c.Aks.NodeResourceGroup)
	}
	machines, names, others := 0, 0, 0
	for _, l := range live.Nodes {
		for _, n := range nodes {
			switch {
			case sameMachine(l, n):
				machines++
			case l.Name != n.Name:
			case l.ProviderID != "" && n.ProviderId != "" && l.ProviderID != n.ProviderId:
				others++
			default:
				names++
			}
		}
	}
	all := machines + names
	switch {
	case machines > 0:
		return likely, fmt.Sprintf("%d of %d nodes are machines that the API knows", machines, len(live.Nodes))
	case all > 0 && others == 0 && all == len(live.Nodes) && all == len(nodes):
		return likely, fmt.Sprintf("all %d nodes have the names that the API knows", all)
	case others > 0:
		return unproven, fmt.Sprintf("%d nodes have names that the API knows, but are other machines", others)
	case len(nodes) == 0:
		return unproven, "the API knows no nodes of it"
	case all > 0:
		return unproven, fmt.Sprintf("of %d nodes here and %d at the API only %d have the same names, and names are no proof",
			len(live.Nodes), len(nodes), all)
	}
	return unproven, fmt.Sprintf("none of the %d nodes here is among the %d that the API knows", len(live.Nodes),
		len(nodes))
}

// clouds are the schemes of the provider ids of clouds, in which an id names one
// machine in the world. Others, k3s:// or kind://, repeat a name.
var clouds = []string{"aws", "gce", "azure", "oci"}

func cloudOf(providerID string) string {
	scheme, _, _ := strings.Cut(providerID, "://")
	if slices.Contains(clouds, scheme) {
		return scheme
	}
	return ""
}

// sameMachine: the machine's id in its cloud.
func sameMachine(l LiveNode, n castai.Node) bool {
	if cloudOf(l.ProviderID) == "" {
		return false
	}
	machine := l.ProviderID[strings.LastIndex(l.ProviderID, "/")+1:]
	return l.ProviderID == n.ProviderId || cloudOf(l.ProviderID) == "aws" && n.InstanceId == machine
}

// elsewhere says how the place of the API's cluster excludes the live one: none
// of its nodes in clouds is there. Nodes of other clouds may have joined both.
func elsewhere(c castai.Cluster, live Live) string {
	var cloud, want string
	var place func(providerID string) string
	switch {
	case c.Eks.Region != "":
		cloud, place, want = "aws", func(id string) string { return within(part(id, 0), c.Eks.Region) }, "region "+
			c.Eks.Region
	case c.Gke.ProjectId != "":
		cloud, place, want = "gce", func(id string) string { return part(id, 0) }, c.Gke.ProjectId
	case c.Aks.SubscriptionId != "":
		cloud, place, want = "azure", func(id string) string {
			return strings.ToLower(part(id,
				1))
		}, strings.ToLower(c.Aks.SubscriptionId)
	default:
		return ""
	}
	found := map[string]bool{}
	for _, l := range live.Nodes {
		switch at := cloudOf(l.ProviderID); {
		case at == cloud && place(l.ProviderID) == want:
			return ""
		case at == cloud:
			found[place(l.ProviderID)] = true
		case at != "":
			found[at] = true
		}
	}
	if len(found) == 0 {
		return ""
	}
	return fmt.Sprintf("the API's cluster is in %s %s, and none of the nodes here is", cloud, want)
}

// part returns a part of the path of a provider id: aws:///ZONE/INSTANCE,
// gce://PROJECT/ZONE/INSTANCE, azure:///subscriptions/ID/resourceGroups/NAME/...
func part(providerID string, i int) string {
	_, path, _ := strings.Cut(providerID, "://")
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if i >= len(parts) {
		return ""
	}
	return parts[i]
}

// within names the region of a zone: eu-central-1a is in eu-central-1, as are
// local zones that begin with it.
func within(zone, region string) string {
	if strings.HasPrefix(zone, region) {
		return "region " + region
	}
	return "zone " + zone
}

// inNodeGroup tells whether all nodes in Azure are in the resource group that
// AKS makes for the nodes of one cluster.
func inNodeGroup(c castai.Cluster, live Live) bool {
	n := 0
	for _, l := range live.Nodes {
		if cloudOf(l.ProviderID) != "azure" {
			continue
		}
		if c.Aks.NodeResourceGroup == "" || !strings.EqualFold(part(l.ProviderID, 1), c.Aks.SubscriptionId) ||
			!strings.EqualFold(part(l.ProviderID, 3), c.Aks.NodeResourceGroup) {
			return false
		}
		n++
	}
	return n > 0
}

package fakecastai

import (
	"fmt"
	"time"

	"github.com/castai/kubectl-castai/internal/castai"
)

// Organization is the one that samples belong to.
const Organization = "3c7f7e2e-0e7e-4a5c-8f3f-4b3b3f1c2d10"

// SamplePolicies are policies with fields that the client does not know, as a
// service writes them that keeps the order and the form of numbers.
const SamplePolicies = `{
  "enabled": true,
  "isScopedMode": false,
  "defaultNodeTemplateVersion": "7",
  "unschedulablePods": {"enabled": true, "headroom": {"enabled": false, "cpuPercentage": 5}, "podPinner": {"enabled": true, "status": "PodPinnerStatus_Compatible"}},
  "clusterLimits": {"enabled": true, "cpu": {"minCores": 1, "maxCores": 20}},
  "nodeDownscaler": {"enabled": true, "emptyNodes": {"enabled": true, "delaySeconds": 150}, "evictor": {"enabled": true, "cycleInterval": "5s"}},
  "newerThanThisClient": {"enabled": true, "number": 12345678901234567890, "other": 1.50e2, "text": "\u003ckept\u003e"}
}`

// Sample returns a managed cluster that is ready.
func Sample(id, name string, nodes ...castai.Node) Cluster {
	managed := true
	return Cluster{
		Cluster: castai.Cluster{
			Id: id, Name: name, OrganizationId: Organization, Status: "ready", AgentStatus: "online",
			AgentSnapshotReceivedAt: time.Now().UTC().Add(-10 * time.Second).Truncate(time.Second),
			CredentialsId:           "8d1b3f0e-6c1e-4f57-9a26-0d9d3c1a5b77", IsPhase2: &managed, ManagedBy: "console",
			ProviderType: "eks",
			Region:       castai.Region{Name: "eu-central-1", DisplayName: "EU (Frankfurt)"},
			Eks:          castai.EKS{AccountId: "123456789012", ClusterName: name, Region: "eu-central-1"},
		},
		Nodes: nodes, Policies: castai.Policies(SamplePolicies),
		Script: fmt.Sprintf("curl -fsSL https://example.com/cleanup.sh | CASTAI_CLUSTER_ID=%s bash -\n", id),
	}
}

// SampleNode returns a ready node. by says who made it: cast for Cast AI.
func SampleNode(name, providerID, by string) castai.Node {
	return castai.Node{
		Id: "node-of-" +
			name, Name: name, ProviderId: providerID, AddedBy: by, InstanceType: "m7g.xlarge", Zone: "eu-central-1a",
		Role:      "worker",
		CreatedAt: time.Now().UTC().Add(-time.Hour).Truncate(time.Second), State: castai.NodeState{Phase: "ready"},
		Labels: map[string]string{}, Annotations: map[string]string{}, Taints: []castai.Taint{},
	}
}

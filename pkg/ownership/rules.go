package ownership

// A rule finds evidence. Rules for the cluster's scope get the cluster-scoped
// objects and nothing else; rules for a namespace get the objects of that
// namespace, and what is known of the cluster-scoped ones.
type rule[View any] struct {
	// evidence are the names under which it notes what it finds, in the order of
	// docs/ownership.md.
	evidence []string
	doc      string
	judge    func(View)
	home     bool // a rule for namespaces that are homes only
	last     bool // what merely lives in a home: when the rest is known
}

// clusterRules judge cluster-scoped objects.
var clusterRules = []rule[*clusterView]{
	{evidence: []string{"group"}, judge: (*clusterView).judgeDefinitions,
		doc: "a CustomResourceDefinition of exactly one of Cast AI's API groups"},
	{evidence: []string{"installed", "subjects"}, judge: (*clusterView).judgeBindings,
		doc: "a ClusterRoleBinding with the marks of one of Cast AI's charts whose subjects agree, or all of whose subjects are ServiceAccounts that are known to be Cast AI's"},
	{evidence: []string{"bound", "installed"}, judge: (*clusterView).judgeRoles,
		doc: "a ClusterRole that only ClusterRoleBindings of Cast AI's grant, and that its labels or name say was made for them; built-in roles never are"},
	{evidence: []string{"service", "installed"}, judge: (*clusterView).judgeWebhooks,
		doc: "a webhook configuration that calls only Services in homes, and has a name, a domain, rules or the exact Services of Cast AI's; or one that calls no Service, with a component's name and the marks of its chart"},
	{evidence: []string{"service"}, judge: (*clusterView).judgeAPIServices,
		doc: "an APIService that a Service in a home answers for, and whose group or Service is Cast AI's"},
	{evidence: []string{"installed"}, judge: (*clusterView).judgeInstalled,
		doc: "anything else with the label of one of Cast AI's charts and Helm's mark of a release in a home"},
	{evidence: []string{"users"}, judge: (*clusterView).judgeConstraints,
		doc: "SecurityContextConstraints of which only Cast AI's ServiceAccounts are users"},
	{evidence: []string{"class"}, judge: (*clusterView).judgeClasses,
		doc: "the StorageClass and RuntimeClass of Liqo, where the Liqo in this cluster is Cast AI's"},
	{evidence: []string{"liqo"}, judge: (*clusterView).judgeLiqo,
		doc: "it has the label of Liqo's chart, and the Liqo in this cluster is Cast AI's"},
	{evidence: []string{"known"}, judge: (*clusterView).judgeKnown,
		doc: "a name that one component always uses, while something else of that component is cluster-wide"},
	{evidence: []string{"node"}, judge: (*clusterView).judgeNodes,
		doc: "a virtual node that a binding of Cast AI's Liqo is for; never one for its labels or provider id alone, which a kubelet writes"},
	{evidence: []string{"instance"}, judge: (*clusterView).judgeInstances,
		doc: "a custom resource of an owned definition"},
	{evidence: []string{"owner"}, judge: (*clusterView).judgeOwners,
		doc: "all its owners are owned, so that Kubernetes collects it with them; never a namespace, a definition, a node or a volume"},
}

// spaceRules judge the objects of a namespace.
var spaceRules = []rule[*spaceView]{
	{evidence: []string{"instance"}, judge: (*spaceView).judgeInstances,
		doc: "a custom resource of an owned definition"},
	{evidence: []string{"release", "release-record", "third-party"}, judge: (*spaceView).judgeReleases, home: true,
		doc: "a Helm release of one of Cast AI's charts, kept in this namespace, lists it, and it agrees; what the namespace's administrator could not delete needs marks of its own"},
	{evidence: []string{"installed"}, judge: (*spaceView).judgeInstalled, home: true,
		doc: "it has the label of one of Cast AI's charts, and Helm's marks or the installation's names agree"},
	{evidence: []string{"workload"}, judge: (*spaceView).judgeWorkloads, home: true,
		doc: "it runs a component's own image under that component's name or labels, or has a name that nobody else gives and Helm's marks of an installation here, or runs nothing but what Cast AI publishes for its charts"},
	{evidence: []string{"subjects"}, judge: (*spaceView).judgeBindings,
		doc: "a RoleBinding all of whose subjects are Cast AI's; outside of homes it must have marks of its own, and be where only administrators write (kube-*, openshift*)"},
	{evidence: []string{"bound"}, judge: (*spaceView).judgeRoles,
		doc: "a Role that only RoleBindings of Cast AI's grant, and that its labels or name say was made for them, with the same bounds"},
	{evidence: []string{"installed"}, judge: (*spaceView).judgeOutside,
		doc: "a Role where only administrators write, with the label of one of Cast AI's charts and Helm's mark of an installation of Cast AI's"},
	{evidence: []string{"owner"}, judge: (*spaceView).judgeOwners,
		doc: "all its owners are owned, so that Kubernetes collects it with them"},
	{evidence: []string{"companion"}, judge: (*spaceView).judgeCompanions,
		doc: "what Kubernetes makes beside an owned object without an owner reference: Endpoints, token Secrets, Leases, volumes"},
	{evidence: []string{"used"}, judge: (*spaceView).judgeUsed, home: true,
		doc: "only workloads of Cast AI's use it, and no program of others wrote it: ServiceAccounts, Secrets, ConfigMaps, Services, budgets"},
	{evidence: []string{"known"}, judge: (*spaceView).judgeKnown, home: true, last: true,
		doc: "a kind and name that one component always uses in the namespace that it lives in"},
	{evidence: []string{"home"}, judge: (*spaceView).judgeHome, home: true, last: true,
		doc: "it lives where nobody but Cast AI lives, something ties it to Cast AI, and nothing says otherwise"},
	{evidence: []string{"release-record"}, judge: (*spaceView).judgeRecords, home: true, last: true,
		doc: "the record of a release that could not be read, or whose chart the catalogue does not name, while all that is marked as part of it is Cast AI's"},
}

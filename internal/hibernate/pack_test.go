package hibernate

import (
	"fmt"
	"strings"
	"testing"
)

// replicas is the manifest of a Deployment in the namespace monitoring with a pod on
// each of these nodes. pod is what its pods' specs have beside a container.
func replicas(name, container, pod string, nodes ...string) string {
	out := strings.Replace(aWorkload("Deployment", "monitoring/"+name, "containers: [{name: c}]", len(nodes)),
		"replicas: 1", fmt.Sprintf("replicas: %d", len(nodes)), 1)
	for i, on := range nodes {
		one := aPod(fmt.Sprintf("monitoring/%s-%d", name, i), on, name, "{name: c, image: i"+container+"}", true)
		out += strings.Replace(one, "spec: {nodeName", "spec: {"+pod+"nodeName", 1)
	}
	return out
}

const (
	monitoring = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: monitoring}\n"
	large      = ", resources: {requests: {cpu: 600m}}"
)

func nodesCalled(names ...string) string {
	out := ""
	for _, name := range names {
		out += aNode(name)
	}
	return out
}

// The nodes that the pods of namespaces to keep need stay, and no others.
func TestAsFewNodesAsPodsNeed(t *testing.T) {
	six := []string{"a", "b", "c", "d", "e", "f"}
	ab := nodesCalled("a", "b")
	hosts := aNode("a", "kubernetes.io/hostname=a") + aNode("b", "kubernetes.io/hostname=b") +
		aNode("c", "kubernetes.io/hostname=c")
	api := func(nodes ...string) string { return replicas("api", "", "", nodes...) }
	apart := func(app string) string {
		return "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: " + app + "}}}]}}, "
	}
	const (
		device = ", resources: {requests: {nvidia.com/gpu: '1'}}"
		ssd    = "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: disk, operator: In, values: [ssd]}]}]}}}, "
		start  = "initContainers: [{name: i, resources: {requests: {cpu: 1500m}}}], "
	)
	full := func(on string) string {
		return aPod("shop/on-"+on, on, "x", "{name: c, resources: {requests: {cpu: 1200m}}}", true)
	}
	for name, tc := range map[string]struct {
		manifests string
		goes      string
		moves     int
	}{
		"three fit on a node": {nodesCalled(six...) + replicas("web", large, "", six...), "a c d f", 4},
		"all do": {nodesCalled(six...) + replicas("web", ", resources: {requests: {cpu: 100m}}", "",
			six...), "a c d e f", 5},
		"what else runs takes room": {ab + replicas("web", large, "", "a", "b") + full("a") + full("b"), "", 0},
		"memory counts":             {ab + replicas("web", ", resources: {requests: {memory: 5Gi}}", "", "a", "b"), "", 0},
		"the number of pods counts": {strings.ReplaceAll(ab, "pods: '20'", "pods: '1'") +
			replicas("web", "", "", "a", "b"), "", 0},
		"init containers count": {ab + replicas("web", "", start, "a", "b"), "", 0},
		"a node selector": {aNode("a", "disk=ssd") + aNode("b") +
			replicas("web", "", "nodeSelector: {disk: ssd}, ", "a", "a") + replicas("api", large, "", "b", "b"), "b", 2},
		"required affinity to nodes": {aNode("a", "disk=ssd") + aNode("b") + replicas("web", "", ssd, "a", "a") +
			replicas("api", large, "", "b", "b"), "b", 2},
		"a taint": {aNode("a", "spec=taints: [{key: gpu, effect: NoSchedule}]") + aNode("b") +
			replicas("web", large, "", "a", "a") + api("b", "b"), "a", 2},
		"a taint that is tolerated": {aNode("a", "spec=taints: [{key: gpu, effect: NoSchedule}]") + aNode("b") +
			replicas("web", large, "", "a", "a", "a") + replicas("api", large, "tolerations: [{key: gpu, operator: Exists}], ",
			"b"), "", 0},
		"a taint that only prefers": {aNode("a", "spec=taints: [{key: gpu, effect: PreferNoSchedule}]") + aNode("b") +
			replicas("web", large, "", "a", "a") + api("b", "b"), "b", 2},
		"a device that others lack": {strings.Replace(aNode("a"), "pods: '20'", "pods: '20', nvidia.com/gpu: '2'", 1) +
			aNode("b") + replicas("train", device, "", "a", "a") + replicas("web", large, "", "b", "b"), "b", 2},
		"pods that bear none of them": {hosts + replicas("web", "", apart("web"), "a", "b") + api("c", "c"), "a", 1},
		"nor others of the namespace": {hosts + replicas("web", "", apart("api"), "a", "a") + api("b", "b"), "c", 0},
		"a cordoned node takes none": {aNode("a", "spec=unschedulable: true") + aNode("b") +
			replicas("web", large, "", "a", "a") + api("b", "b"), "a", 2},
		"one that is not ready": {aNode("a", "ready=False") + aNode("b") + replicas("web", large, "", "a", "a") +
			api("b", "b"), "a", 2},
		"a node that stays anyway":     {aNode("a", "foreign") + aNode("b") + replicas("web", large, "", "b", "b"), "b", 2},
		"pods that wait for a node":    {ab + replicas("web", large, "", "", ""), "b", 0},
		"pods that no node would take": {ab + replicas("web", "", "nodeSelector: {disk: ssd}, ", "", ""), "a b", 0},
	} {
		t.Run(name, func(t *testing.T) {
			o := options()
			o.NamespacesToKeep = []string{"monitoring"}
			p := plan(t, situation(t, tc.manifests+monitoring+aNode("other")), o)
			moves := 0
			for _, m := range p.Move {
				moves += len(m.Pods)
			}
			if got, want := nodeList(p.going()), strings.TrimSpace(tc.goes+" other"); got != want || moves != tc.moves {
				t.Errorf("%s go, and %d pods move; want %s, and %d", got, moves, want, tc.moves)
			}
		})
	}
}

// A pod stays where it is, and its node with it, if it could not be without harm
// elsewhere.
func TestPodsThatStayWhereTheyAre(t *testing.T) {
	web := func(pod string) string { return replicas("web", "", pod, "a", "a") }
	const room = "resources: {requests: {cpu: 100m}}"
	label := func(key, value string) string {
		return strings.ReplaceAll(web(""), "labels: {app: web}, owner", "labels: {app: web}, annotations: {"+key+": '"+value+
			"'}, owner")
	}
	budget := func(name string, allowed int) string {
		return fmt.Sprintf("---\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: %s, namespace: monitoring}\nspec: {selector: {matchLabels: {app: web}}}\nstatus: {disruptionsAllowed: %d}\n", name, allowed)
	}
	for name, tc := range map[string]struct {
		manifests string
		stays     bool
	}{
		"replicas of a Deployment":     {web(""), false},
		"the only replica":             {replicas("web", "", "", "a"), true},
		"replicas that do not all run": {strings.Replace(web(""), "replicas: 2", "replicas: 3", 1), true},
		"one that is not ready": {strings.Replace(web(""), "type: Ready, status: \"True\"",
			"type: Ready, status: \"False\"", 1), true},
		"of a Job": {strings.ReplaceAll(web(""), "kind: ReplicaSet", "kind: Job"), true},
		"of nobody that is known": {strings.ReplaceAll(web(""), "labels: {app: web}, owner",
			"labels: {app: x}, owner"), true},
		"on a volume":               {web("volumes: [{name: v, persistentVolumeClaim: {claimName: data}}], "), true},
		"on a volume of its own":    {web("volumes: [{name: v, ephemeral: {volumeClaimTemplate: {spec: {}}}}], "), true},
		"with data on the node":     {web("volumes: [{name: v, hostPath: {path: /data}}], "), true},
		"with data of its own":      {web("volumes: [{name: v, emptyDir: {}}], "), true},
		"with a file in memory":     {web("volumes: [{name: v, emptyDir: {medium: Memory}}], "), false},
		"with a Secret":             {web("volumes: [{name: v, secret: {secretName: s}}], "), false},
		"marked for Cast AI":        {label(removalDisabled, "true"), true},
		"marked for the autoscaler": {label(safeToEvict, "false"), true},
		"a budget that allows none": {web("") + budget("one", 0), true},
		"a budget that allows one":  {web("") + budget("one", 1), false},
		"two budgets":               {web("") + budget("one", 1) + budget("two", 1), true},
		"another scheduler":         {web("schedulerName: own, "), true},
		"a claim of a device":       {web("resourceClaims: [{name: gpu}], "), true},
		"a port of the node": {strings.ReplaceAll(web(""), "{name: c, image: i}",
			"{name: c, image: i, ports: [{containerPort: 80, hostPort: 80}]}"), true},
		"near to others":          {web("affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: zone, labelSelector: {}}]}}, "), true},
		"spread as far as may be": {web("topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}], "), true},
		"spread if that can be":   {web("topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}], "), false},
		"a template that names its node": {strings.Replace(web(""), "spec: {containers: [{name: c}]}",
			"spec: {nodeName: a, containers: [{name: c}]}", 1), true},
		"a StatefulSet's": {strings.NewReplacer("kind: Deployment", "kind: StatefulSet", "kind: ReplicaSet",
			"kind: StatefulSet").Replace(web("")), false},
		"data, but it may be evicted": {strings.ReplaceAll(label(safeToEvict, "true"), "spec: {nodeName",
			"spec: {volumes: [{name: v, emptyDir: {}}], nodeName"), false},
	} {
		t.Run(name, func(t *testing.T) {
			s := situation(t, aNode("a")+aNode("b")+aNode("other")+monitoring+
				aPod("monitoring/big", "b", "big", "{name: c, "+strings.Replace(room, "100m", "1500m", 1)+"}", true)+tc.manifests)
			o := options()
			o.NamespacesToKeep = []string{"monitoring"}
			p := plan(t, s, o)
			if stays := !strings.Contains(nodeList(p.going()), "a"); stays != tc.stays {
				t.Errorf("%s go", nodeList(p.going()))
			}
			o.Keep = KeepNodes
			if p := plan(t, situation(t, aNode("a")+aNode("b")+aNode("c")+monitoring+tc.manifests),
				o); nodeList(p.going()) != "b c" || len(p.Move) > 0 {
				t.Errorf("--keep=nodes: %s go", nodeList(p.going()))
			}
		})
	}
}

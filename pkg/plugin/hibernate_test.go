package plugin

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/internal/castai/castaitest"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// phase is what the document of hibernate status says.
func (e *evening) phase() string {
	e.t.Helper()
	out, code := e.run("hibernate", "status", "-o", "json")
	if code != ExitOK {
		e.t.Fatal(out)
	}
	return document[struct{ Phase string }](e.t, out).Phase
}

// changes are the writes that were no dry run, but those of the Lease that keeps others
// away.
func (e *evening) changes() []string {
	return slices.DeleteFunc(e.Writes(), func(w string) bool {
		return strings.HasSuffix(w, "(dry run)") || strings.Contains(w, "leases.")
	})
}

// A cluster is paused and resumed: nothing is left of it then.
func TestPauseAndResume(t *testing.T) {
	atNight(t, func(t *testing.T, e *evening) {
		before := strings.Join(e.Refs(), " ")
		if out, code := e.withKey("hibernate pause --yes"); code != ExitOK || e.nodes() != "made" || e.on() {
			t.Fatalf("exit code %d, nodes %s: %s", code, e.nodes(), out)
		}
		if got := e.phase(); got != "paused" {
			t.Errorf("it is %s", got)
		}
		writes := len(e.changes())
		if out, code := e.withKey("hibernate pause --yes"); code != ExitOK || !strings.Contains(out, "Nothing to do") ||
			len(e.changes()) > writes {
			t.Errorf("again: exit code %d, %v: %s", code, e.changes()[writes:], out)
		}
		if out, code := e.run("offboard", "--dry-run=client"); code != ExitOK || !strings.Contains(out, "hibernate") {
			t.Errorf("the preview of an offboarding says nothing of it: exit code %d: %s", code, out)
		}
		out, code := e.withKey("hibernate resume --yes -o json")
		if code != ExitOK || !e.on() || e.phase() != "awake" {
			t.Fatalf("exit code %d: it is %s: %s", code, e.phase(), out)
		}
		node := e.Get(cluster.Ref{Kind: "Node", Name: "made"})
		if taints := node.Object["spec"].(map[string]any)["taints"]; taints != nil && len(taints.([]any)) > 0 {
			t.Errorf("the node still has %v", taints)
		}
		if out, code := e.withKey("hibernate resume --yes -o yaml"); code != ExitOK {
			t.Errorf("again: exit code %d: %s", code, out)
		}
		for _, name := range []string{"a", "b", "c"} {
			before = strings.Replace(before, " Node/"+name, "", 1)
		}
		for ref := range strings.FieldsSeq(before) {
			if !slices.Contains(e.Refs(), ref) {
				t.Errorf("%s is gone", ref)
			}
		}
	})
}

// A plan that is only looked at, or that the server only judges, changes nothing.
func TestHibernateOnlyLooks(t *testing.T) {
	key := " --api-key-file=key --cluster-id=" + castaitest.ID + " --api-url=" + castaitest.URL
	for name, test := range map[string]struct {
		args string
		code int
		says string
	}{
		"status":                      {"status", ExitOK, "awake"},
		"status with a key":           {"status" + key, ExitOK, "awake"},
		"status of the service":       {"status --managed" + key, ExitOK, ""},
		"status, as a document":       {"status -o yaml --managed" + key, ExitOK, "phase: awake"},
		"status of no pair":           {"status --name=lunch", ExitRefused, "lunch"},
		"the service without a key":   {"status --managed", ExitUsage, "API key"},
		"a plan":                      {"pause --dry-run=client" + key, ExitOK, "dns"},
		"a plan, as a document":       {"pause --dry-run=client -o json" + key, ExitOK, `"phases"`},
		"checked":                     {"pause --dry-run=server" + key, ExitOK, ""},
		"nobody can be asked":         {"pause" + key, ExitRefused, "--yes"},
		"without a key":               {"pause --yes", ExitUsage, "API key"},
		"nothing to resume":           {"resume --yes" + key, ExitOK, "Nothing to do"},
		"another cluster":             {"pause --yes --api-key-file=key --api-url=" + castaitest.URL, ExitRefused, "--cluster-id"},
		"no region":                   {"pause --yes --api-key-file=key --cluster-id=" + castaitest.ID, ExitRefused, "--api-url"},
		"no such policy":              {"pause --policy=some" + key, ExitUsage, "some"},
		"no such way to keep":         {"pause --keep=some" + key, ExitUsage, "some"},
		"no such refusal":             {"pause --accept=fate" + key, ExitUsage, "fate"},
		"labels that are none":        {"pause --hibernate-node-labels=x" + key, ExitUsage, "KEY=VALUE"},
		"the service keeps nothing":   {"pause --managed --namespaces-to-keep=x" + key, ExitUsage, "keeps no namespace"},
		"two ways":                    {"pause --managed --in-cluster" + key, ExitUsage, "exclude"},
		"a Job can't be tried":        {"pause --in-cluster --dry-run", ExitUsage, "--dry-run"},
		"a name of no Job":            {"pause --name=x" + key, ExitUsage, "--in-cluster"},
		"a Job can't repair":          {"resume --in-cluster --repair", ExitUsage, "--repair"},
		"the service can't repair":    {"resume --managed --repair" + key, ExitUsage, "--repair"},
		"no CronJob":                  {"pause --in-cluster --yes", ExitRefused, "hibernate install"},
		"no log":                      {"logs", ExitFailed, "no run of the CronJobs"},
		"no log of a pair":            {"logs --name=x", ExitRefused, "no pair x"},
		"no schedule":                 {"pause --managed --yes" + key, ExitRefused, "schedule"},
		"the list":                    {"schedule list" + key, ExitOK, ""},
		"the list, as a document":     {"schedule list -o json" + key, ExitOK, `"managed"`},
		"no such schedule":            {"schedule assign nights --yes" + key, ExitRefused, "nights"},
		"no such schedule to delete":  {"schedule delete nights --yes" + key, ExitRefused, "nights"},
		"no schedule is named":        {"schedule delete --yes" + key, ExitUsage, "one argument"},
		"nothing there":               {"uninstall --yes", ExitOK, "Nothing of it"},
		"no such pair":                {"uninstall --yes --name=lunch", ExitRefused, "lunch"},
		"all and one":                 {"uninstall --all --name=lunch", ExitUsage, "exclude"},
		"nothing to set":              {"set", ExitUsage, "nothing to set"},
		"not installed":               {"set --pause-schedule=0+20+*+*+*", ExitRefused, "hibernate install"},
		"install without a key":       {"install --yes", ExitUsage, "API key"},
		"no schedule that is one":     {"install --pause-schedule=never" + key, ExitRefused, "never"},
		"no zone that is one":         {"install --time-zone=Mars/Base" + key, ExitRefused, "Mars/Base"},
		"no image":                    {"install --image=" + key, ExitUsage, "--image"},
		"no name":                     {"install --name=A_b" + key, ExitUsage, "--name"},
		"keep without a namespace":    {"install --yes --namespaces-to-keep=nowhere" + key, ExitRefused, "nowhere"},
		"what is no refusal":          {"install --accept=fate" + key, ExitUsage, "fate"},
		"a plan to install":           {"install --dry-run=client" + key, ExitOK, "CronJob"},
		"a plan to install, as a doc": {"install --dry-run=client -o json" + key, ExitOK, `"CronJob"`},
		"checked by the server":       {"install --dry-run=server" + key, ExitOK, ""},
		"nobody to ask for install":   {"install" + key, ExitRefused, "--yes"},
		"no such command":             {"sleep", ExitUsage, "sleep"},
		"a Job without environment":   {"run", ExitUsage, "ACTION"},
	} {
		t.Run(name, func(t *testing.T) {
			atNight(t, func(t *testing.T, e *evening) {
				args := append([]string{"hibernate"}, strings.Fields(test.args)...)
				for i := range args {
					args[i] = strings.ReplaceAll(args[i], "+", " ")
				}
				out, code := e.run(args...)
				if code != test.code || !strings.Contains(out, test.says) {
					t.Errorf("exit code %d: %s", code, out)
				}
				if len(e.changes()) > 0 || len(e.api.Writes()) > 0 {
					t.Errorf("it writes %v, and to the API %v", e.changes(), e.api.Writes())
				}
			})
		})
	}
}

// Without a right nothing is begun, and a ClusterRole says what is missing.
func TestHibernateWithoutRights(t *testing.T) {
	for command, missing := range map[string]string{
		"hibernate pause --yes": "nodes", "hibernate install --yes": "cronjobs", "hibernate uninstall --yes": "cronjobs",
	} {
		t.Run(command, func(t *testing.T) {
			atNight(t, func(t *testing.T, e *evening) {
				if strings.Contains(command, "uninstall") {
					if out, code := e.withKey("hibernate install --yes"); code != ExitOK {
						t.Fatal(out)
					}
				}
				writes := len(e.changes())
				e.Forbid = func(r *clustertest.Request) bool {
					return r.Resource == missing && slices.Contains([]string{"create", "patch", "update", "delete"}, r.Verb)
				}
				out, code := e.withKey(command)
				if code != ExitRefused || len(e.changes()) > writes || !strings.Contains(out, "kind: ClusterRole") ||
					!strings.Contains(out, missing) {
					t.Errorf("exit code %d, %v: %s", code, e.changes()[writes:], out)
				}
			})
		})
	}
}

// The service hibernates the cluster by a schedule, and wakes it.
func TestManagedHibernation(t *testing.T) {
	atNight(t, func(t *testing.T, e *evening) {
		e.Put(controller(t)...)
		create := "hibernate schedule create nights --pause-schedule=0+22+*+*+* --resume-schedule=0+7+*+*+*"
		withKey := func(command string) (string, int) {
			args := strings.Fields(command)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "+", " ")
			}
			return e.run(append(args, "--api-key-file=key", "--cluster-id="+castaitest.ID, "--api-url="+castaitest.URL)...)
		}
		for _, test := range []struct {
			command string
			code    int
			says    string
		}{
			{create, ExitRefused, "--yes"},
			{create + " --yes", ExitOK, "Created"},
			{create + " --yes", ExitRefused, "already"},
			{"hibernate schedule list", ExitOK, "nights"},
			{"hibernate schedule assign nights --yes", ExitRefused, "--add-tolerations"},
		} {
			if out, code := withKey(test.command); code != test.code || !strings.Contains(out, test.says) {
				t.Fatalf("%s: exit code %d: %s", test.command, code, out)
			}
		}
		if len(e.api.Schedules) != 1 || len(e.api.Schedules[0].ClusterAssignments.Items) > 0 || len(e.changes()) > 0 {
			t.Fatalf("%+v, %v", e.api.Schedules, e.changes())
		}
		for _, test := range []struct {
			command string
			code    int
			says    string
		}{
			{"hibernate schedule assign nights --yes --add-tolerations", ExitOK, "Done"},
			{"hibernate schedule assign made-nights --yes", ExitOK, "Nothing to do"},
			{"hibernate pause --yes", ExitRefused, "nights"},
			{"hibernate pause --managed --dry-run=client", ExitOK, ""},
			{"hibernate pause --managed", ExitRefused, "--yes"},
		} {
			if out, code := withKey(test.command); code != test.code || !strings.Contains(out, test.says) {
				t.Fatalf("%s: exit code %d: %s", test.command, code, out)
			}
		}
		if out, code := withKey("hibernate pause --managed --yes"); code != ExitOK || e.nodes() != "" ||
			e.api.Cluster.Status != "hibernated" {
			t.Fatalf("exit code %d, %s, nodes %s: %s", code, e.api.Cluster.Status, e.nodes(), out)
		}
		if out, code := withKey("hibernate pause --managed --yes"); code != ExitOK || !strings.Contains(out, "Nothing to do") {
			t.Errorf("again: exit code %d: %s", code, out)
		}
		if out, code := withKey("hibernate resume --managed --yes -o json"); code != ExitOK ||
			e.api.Cluster.Status != "ready" {
			t.Fatalf("exit code %d, %s: %s", code, e.api.Cluster.Status, out)
		}
		for _, test := range []struct {
			command string
			code    int
			says    string
		}{
			{"hibernate schedule unassign nights --yes", ExitOK, "Done"},
			{"hibernate schedule delete nights", ExitRefused, "--yes"},
			{"hibernate schedule delete nights --yes", ExitOK, "Deleted"},
			{create + " --assign --yes --accept=fate", ExitUsage, "fate"},
			{create + " --assign --yes", ExitOK, "Created"},
		} {
			if out, code := withKey(test.command); code != test.code || !strings.Contains(out, test.says) {
				t.Errorf("%s: exit code %d: %s", test.command, code, out)
			}
		}
		if h := e.api.Schedules; len(h) != 1 || !slices.Contains(h[0].ClusterAssignments.Items,
			castai.ClusterAssignment{ClusterId: castaitest.ID}) {
			t.Errorf("%+v", h)
		}
	})
}

// controller is a castai-cluster-controller beside the agent.
func controller(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	objects, err := clustertest.Parse([]byte(`
apiVersion: apps/v1
kind: Deployment
metadata:
  name: castai-cluster-controller
  namespace: castai-agent
  labels: {helm.sh/chart: castai-cluster-controller-0.86.0, app.kubernetes.io/name: castai-cluster-controller}
spec:
  replicas: 1
  selector: {matchLabels: {app.kubernetes.io/name: castai-cluster-controller}}
  template:
    metadata: {labels: {app.kubernetes.io/name: castai-cluster-controller}}
    spec: {containers: [{name: c, image: i}]}
status: {readyReplicas: 1}
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range objects {
		tracked(u)
	}
	return objects
}

// CronJobs are installed, set, started by hand, looked at, and removed without a trace.
func TestInstallation(t *testing.T) {
	atNight(t, func(t *testing.T, e *evening) {
		before := e.Refs()
		if out, code := e.withKey("hibernate install --yes --time-zone=Europe/Vilnius"); code != ExitOK {
			t.Fatalf("exit code %d: %s", code, out)
		}
		pause := cluster.Ref{Group: "batch", Kind: "CronJob", Namespace: "castai-agent", Name: "hibernate-pause"}
		if e.Get(pause) == nil {
			t.Fatalf("there are %v", e.Refs())
		}
		for _, test := range []struct {
			args []string
			code int
			says string
		}{
			{[]string{"install", "--yes", "--api-key-file=key", "--cluster-id=" + castaitest.ID, "--api-url=" + castaitest.URL},
				ExitRefused, "hibernate set"},
			{[]string{"set", "--pause-schedule=0 21 * * *", "--dry-run=client"}, ExitOK, "21"},
			{[]string{"set", "--pause-schedule=0 21 * * *"}, ExitRefused, "--yes"},
			{[]string{"set", "--pause-schedule=0 21 * * *", "--yes", "-o", "json"}, ExitOK, `"report"`},
			{[]string{"install", "--name=lunch", "--yes", "--pause-schedule=0 12 * * 6", "--resume-schedule=0 18 * * 6",
				"--cluster-id=" + castaitest.ID, "--api-url=" + castaitest.URL}, ExitRefused, "overlap"},
			{[]string{"install", "--name=lunch", "--yes", "--pause-schedule=0 8 * * 3", "--resume-schedule=0 10 * * 3",
				"--cluster-id=" + castaitest.ID, "--api-url=" + castaitest.URL}, ExitOK, ""},
			{[]string{"status"}, ExitOK, "lunch"},
			{[]string{"status", "--name=lunch", "-o", "json"}, ExitOK, "lunch"},
			{[]string{"logs"}, ExitFailed, "no run"},
			{[]string{"uninstall", "--name=lunch", "--yes"}, ExitOK, ""},
			{[]string{"uninstall", "--name=lunch", "--yes"}, ExitRefused, "lunch"},
		} {
			if out, code := e.run(append([]string{"hibernate"}, test.args...)...); code != test.code ||
				!strings.Contains(out, test.says) {
				t.Errorf("%s: exit code %d: %s", test.args, code, out)
			}
		}
		if got := e.Get(pause).Object["spec"].(map[string]any)["schedule"]; got != "0 21 * * *" {
			t.Errorf("the schedule is %v", got)
		}
		testJob(t, e)
		if out, code := e.run("hibernate", "uninstall", "--yes"); code != ExitOK {
			t.Errorf("exit code %d: %s", code, out)
		}
		for _, ref := range e.Refs() {
			if !slices.Contains(before, ref) {
				t.Errorf("%s is left", ref)
			}
		}
	})
}

// testJob starts a Job by hand, which fails and then succeeds.
func testJob(t *testing.T, e *evening) {
	t.Helper()
	result := "Failed"
	stop := e.Before(func(r *clustertest.Request) clustertest.Fault { // the Job controller and a kubelet
		if r.Verb == "create" && r.Resource == "jobs" {
			time.AfterFunc(5*time.Second, func() { e.ends(result) })
		}
		return clustertest.Fault{}
	})
	defer stop()
	for _, test := range []struct {
		result string
		code   int
	}{{"Failed", ExitFailed}, {"Complete", ExitOK}} {
		result = test.result
		out, code := e.run("hibernate", "pause", "--in-cluster", "--yes")
		if code != test.code || !strings.Contains(out, "what the job says") {
			t.Errorf("a Job that is %s: exit code %d: %s", test.result, code, out)
		}
		if out, code := e.run("hibernate", "logs"); code != ExitOK || !strings.Contains(out, "what the job says") {
			t.Errorf("its log: exit code %d: %s", code, out)
		}
		e.clearJobs()
	}
}

// ends ends the Jobs, each with a pod that has logged something.
func (e *evening) ends(condition string) {
	for _, text := range e.Refs() {
		ref, err := cluster.ParseRef(text)
		if err != nil || ref.Kind != "Job" {
			continue
		}
		job := e.Get(ref)
		pod := clustertest.Object("v1", "Pod", ref.Namespace, ref.Name+"-x")
		pod.SetOwnerReferences([]metav1.OwnerReference{*metav1.NewControllerRef(job, job.GroupVersionKind())})
		pod.Object["status"] = map[string]any{"phase": "Succeeded"}
		e.Logs = map[string]string{ref.Namespace + "/" + pod.GetName(): "what the job says\n"}
		job.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": condition, "status": "True"}},
			"startTime": time.Now().UTC().Format(time.RFC3339)}
		e.Put(pod, job)
	}
}

// clearJobs removes the Jobs and their pods, as time does.
func (e *evening) clearJobs() {
	for _, text := range e.Refs() {
		if ref, err := cluster.ParseRef(text); err == nil && (ref.Kind == "Job" || ref.Kind == "Pod") {
			e.Drop(ref)
		}
	}
}

// The Job of a CronJob pauses and resumes by its environment.
func TestHibernateRun(t *testing.T) {
	for name, value := range map[string]string{"API_KEY": castaitest.Key, "API_URL": castaitest.URL,
		"CLUSTER_ID": castaitest.ID, "ACTION": "pause", "KUBERNETES_SERVICE_HOST": ""} {
		t.Setenv(name, value)
	}
	for name, test := range map[string]struct{ variable, value, says string }{
		"no action": {"ACTION", "sleep", "sleep"}, "no cluster": {"CLUSTER_ID", "", "CLUSTER_ID is empty"},
		"no address":   {"API_URL", "", "API_URL is empty"},
		"what it is":   {"ACCEPT", "fate", "fate"},
		"how it keeps": {"KEEP", "some", "some"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(test.variable, test.value)
			atNight(t, func(t *testing.T, e *evening) {
				if out, code := e.run("hibernate", "run"); code != ExitUsage || !strings.Contains(out, test.says) ||
					len(e.changes())+len(e.api.Writes()) > 0 {
					t.Errorf("exit code %d: %s", code, out)
				}
			})
		})
	}
	atNight(t, func(t *testing.T, e *evening) {
		if out, code := e.run("hibernate", "run"); code != ExitOK || e.nodes() != "made" || e.on() {
			t.Fatalf("exit code %d, nodes %s: %s", code, e.nodes(), out)
		}
		t.Setenv("ACTION", "resume")
		if out, code := e.run("hibernate", "run"); code != ExitOK || !e.on() || e.phase() != "awake" {
			t.Errorf("exit code %d, %s: %s", code, e.phase(), out)
		}
	})
}

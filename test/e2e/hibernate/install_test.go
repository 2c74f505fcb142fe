package hibernate

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/kubectl-castai/test/driver"
)

// agent is what makes the namespace Cast AI's, installed by Helm: its release is
// {"name": "castai-agent", "chart": {"metadata": {"name": "castai-agent", ...}}, ...}.
const agent = `
apiVersion: v1
kind: Namespace
metadata: {name: castai-agent}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: castai-agent-metadata, namespace: castai-agent}
data: {CLUSTER_ID: ` + clusterID + `, API_URL: "https://api.eu.cast.ai"}
---
apiVersion: v1
kind: Secret
metadata:
  name: sh.helm.release.v1.castai-agent.v1
  namespace: castai-agent
  labels: {owner: helm, name: castai-agent, status: deployed, version: "1"}
type: helm.sh/release.v1
stringData:
  release: eyJuYW1lIjoiY2FzdGFpLWFnZW50IiwibmFtZXNwYWNlIjoiY2FzdGFpLWFnZW50IiwidmVyc2lvbiI6MSwiaW5mbyI6eyJzdGF0dXMiOiJkZXBsb3llZCJ9LCJjaGFydCI6eyJtZXRhZGF0YSI6eyJuYW1lIjoiY2FzdGFpLWFnZW50IiwidmVyc2lvbiI6IjAuMS4wIn19fQ==
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: castai-agent, namespace: castai-agent}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: castai-agent, labels: {helm.sh/chart: castai-agent-0.1.0, app.kubernetes.io/managed-by: Helm}, annotations: {meta.helm.sh/release-name: castai-agent, meta.helm.sh/release-namespace: castai-agent}}
rules: [{apiGroups: [""], resources: [nodes], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: castai-agent, labels: {helm.sh/chart: castai-agent-0.1.0, app.kubernetes.io/managed-by: Helm}, annotations: {meta.helm.sh/release-name: castai-agent, meta.helm.sh/release-namespace: castai-agent}}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: castai-agent}
subjects: [{kind: ServiceAccount, name: castai-agent, namespace: castai-agent}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: castai-agent, namespace: castai-agent, labels: {app.kubernetes.io/name: castai-agent}}
spec:
  replicas: 0
  selector: {matchLabels: {app.kubernetes.io/name: castai-agent}}
  template:
    metadata: {labels: {app.kubernetes.io/name: castai-agent}}
    spec:
      serviceAccountName: castai-agent
      containers: [{name: agent, image: us-docker.pkg.dev/castai-hub/library/agent:v0.1}]
`

func withAgent(t *testing.T) {
	t.Helper()
	check(t, server.Apply(t.Context(), agent))
	t.Cleanup(func() { world{}.remove(t) })
}

// asksNobody has install ask no API about schedules of the service's own.
const asksNobody = "--accept=service-schedule"

// unattended is a user without an API key.
func unattended() *driver.User { return admin.With("CASTAI_API_KEY=", "CASTAI_API_TOKEN=") }

func cronJobOf(t *testing.T, name string) *batchv1.CronJob {
	t.Helper()
	c, err := client.BatchV1().CronJobs("castai-agent").Get(t.Context(), name, metav1.GetOptions{})
	check(t, err)
	return c
}

func environment(c *batchv1.CronJob) map[string]string {
	out := map[string]string{}
	for _, e := range c.Spec.JobTemplate.Spec.Template.Spec.Containers[0].Env {
		out[e.Name] = e.Value
	}
	return out
}

// All of it, with the rights of docs/rbac/hibernate.yaml and no others.
func TestInstallSetUninstall(t *testing.T) {
	withAgent(t)
	as := somebody(t, "hibernate")
	key := filepath.Join(t.TempDir(), "key")
	check(t, os.WriteFile(key, []byte("another-key\n"), 0o600))

	// The API is Cast AI's own: nothing is asked that is accepted.
	r := hibernate(t, 0, "install", as, "--yes", "--api-key-file", key, "--time-zone=Europe/Vilnius", asksNobody,
		"--namespaces-to-keep", " kube-public , castai-agent", "--protect-removal-disabled")
	if !strings.Contains(r.Stdout, "Next pause") || !strings.Contains(r.Stdout, "22:00 EE") {
		t.Errorf("no next times in the user's zone: %s", r.Stdout)
	}
	pause, resume := cronJobOf(t, "hibernate-pause"), cronJobOf(t, "hibernate-resume")
	env := environment(pause)
	for name, want := range map[string]string{
		"ACTION": "pause", "API_URL": "https://api.eu.cast.ai", "NAMESPACES_TO_KEEP": "kube-public,castai-agent",
		"PROTECT_REMOVAL_DISABLED": "true", "PROTECT_EVICTION_DISABLED": "true", "HIBERNATE_NODE": "",
		"HIBERNATE_NODE_LABELS": "",
	} {
		if env[name] != want {
			t.Errorf("%s is %q, want %q", name, env[name], want)
		}
	}
	if pause.Spec.Schedule != "0 22 * * 1-5" || resume.Spec.Schedule != "0 7 * * 1-5" ||
		*pause.Spec.TimeZone != "Europe/Vilnius" || environment(resume)["ACTION"] != "resume" {
		t.Errorf("%+v", pause.Spec)
	}
	secret, err := client.CoreV1().Secrets("castai-agent").Get(t.Context(), "castai-hibernate", metav1.GetOptions{})
	check(t, err)
	if string(secret.Data["API_KEY"]) != "another-key" || string(secret.Data["CLUSTER_ID"]) != clusterID {
		t.Errorf("the Secret has %q", secret.Data)
	}

	again := hibernate(t, 3, "install", as, "--yes", "--api-key-file", key)
	if !strings.Contains(again.Stderr, "hibernate set") {
		t.Errorf("a second install: %s", again)
	}

	// What a person suspends stays so, and status says which of the two it is.
	_, err = server.Kubectl(t.Context(), "patch", "cronjob", "-n", "castai-agent", "hibernate-resume", "-p",
		`{"spec":{"suspend":true}}`)
	check(t, err)
	if r := try(t, unattended(), "set", as, "--yes", "--pause-schedule=0 20 * * *", "--hibernate-node=m6a.large",
		"--hibernate-node-labels=team=night"); r.Code != 0 {
		t.Fatalf("set: %s", r)
	}
	if *cronJobOf(t, "hibernate-pause").Spec.Suspend || !*cronJobOf(t, "hibernate-resume").Spec.Suspend {
		t.Error("set has changed which CronJobs are suspended")
	}
	pause = cronJobOf(t, "hibernate-pause")
	env = environment(pause)
	if pause.Spec.Schedule != "0 20 * * *" || *pause.Spec.TimeZone != "Europe/Vilnius" ||
		env["HIBERNATE_NODE"] != "m6a.large" ||
		env["HIBERNATE_NODE_LABELS"] != "team=night" || env["PROTECT_REMOVAL_DISABLED"] != "true" {
		t.Errorf("after set: %q %v", pause.Spec.Schedule, env)
	}
	secret, err = client.CoreV1().Secrets("castai-agent").Get(t.Context(), "castai-hibernate", metav1.GetOptions{})
	check(t, err)
	if string(secret.Data["API_KEY"]) != "another-key" {
		t.Error("set has changed the key")
	}

	var doc struct {
		Installation struct {
			Schedule  struct{ Pause, Resume, TimeZone string }
			Settings  struct{ HibernateNode string }
			Next      struct{ Pause, Resume string }
			Suspended struct{ Pause, Resume bool }
		}
	}
	check(t, json.Unmarshal([]byte(hibernate(t, 0, "status", as, "-o", "json").Stdout), &doc))
	if in := doc.Installation; in.Schedule.Pause != "0 20 * * *" || in.Settings.HibernateNode != "m6a.large" ||
		in.Next.Pause == "" || in.Next.Resume != "" || in.Suspended.Pause || !in.Suspended.Resume {
		t.Errorf("status: %+v", in)
	}

	hibernate(t, 0, "uninstall", as, "--yes")
	left, err := server.Kubectl(t.Context(), "get", "cronjobs,secrets,roles,rolebindings,serviceaccounts,configmaps", "-n",
		"castai-agent", "-o", "name")
	check(t, err)
	cluster, err := server.Kubectl(t.Context(), "get", "clusterroles,clusterrolebindings", "-o", "name")
	check(t, err)
	for line := range strings.Lines(string(left) + string(cluster)) {
		ofSomebody := strings.HasSuffix(strings.TrimSpace(line), "role.rbac.authorization.k8s.io/castai-hibernate")
		if strings.Contains(line, "hibernate") && !ofSomebody {
			t.Errorf("%s is left", strings.TrimSpace(line))
		}
	}
	if r := hibernate(t, 0, "uninstall", as, "--yes"); !strings.Contains(r.Stdout, "Nothing of it") {
		t.Errorf("a second uninstall: %s", r)
	}
}

// A second pair shares the key and the rights of the first one, and whatever the
// pairs are called, one of them is removed without what the others use.
func TestSeveralPairs(t *testing.T) {
	withAgent(t)
	as := somebody(t, "hibernate")
	hibernate(t, 0, "install", as, "--yes", asksNobody)
	lunch := []string{"install", as, "--yes", "--name=lunch", "--image=registry.example.com/kubectl-castai:v1",
		"--keep=nodes", "--accept=lost-pods", "--namespaces-to-keep=kube-public", "--pause-schedule=0 12 * * 6"}
	if r := hibernate(t, 3, append(lunch, "--resume-schedule=0 18 * * 6")...); !strings.Contains(r.Stderr,
		"--accept=overlapping-pairs") {
		t.Errorf("a pair within the other's sleep: %s", r)
	}
	lunch[len(lunch)-1] = "--pause-schedule=0 12 * * 2"
	r := try(t, unattended(), append(lunch, "--resume-schedule=0 18 * * 2")...)
	if r.Code != 0 || !strings.Contains(r.Stdout, "asleep 4 % of the week, longest stretch 6 h (Tue 12:00 to Tue 18:00)") {
		t.Fatalf("%s", r)
	}
	env := environment(cronJobOf(t, "hibernate-pause-lunch"))
	if env["KEEP"] != "nodes" || env["ACCEPT"] != "lost-pods" || env["NAMESPACES_TO_KEEP"] != "kube-public" {
		t.Errorf("the environment is %v", env)
	}
	check(t, server.Apply(t.Context(), `
apiVersion: batch/v1
kind: CronJob
metadata: {name: team-a-pause, namespace: castai-agent}
spec:
  schedule: "0 3 1 1 *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          serviceAccountName: hibernate
          containers: [{name: mine, image: "castai/hibernate:v0.14", env: [{name: ACTION, value: pause}], envFrom: [{secretRef: {name: castai-hibernate}}]}]
`))
	if r := try(t, unattended(), "set", as, "--yes", "--name=lunch", "--resume-schedule=0 17 * * 2"); r.Code != 0 {
		t.Fatalf("set: %s", r)
	}
	if schedule := cronJobOf(t, "hibernate-resume-lunch").Spec.Schedule; schedule != "0 17 * * 2" ||
		cronJobOf(t, "hibernate-resume").Spec.Schedule != "0 7 * * 1-5" {
		t.Errorf("set has made it %q", schedule)
	}
	if r := hibernate(t, 3, "set", as, "--yes", "--name=dinner",
		"--resume-schedule=0 17 * * 2"); !strings.Contains(r.Stderr, "lunch") {
		t.Errorf("%s", r)
	}
	status := hibernate(t, 0, "status", as).Stdout
	for _, want := range []string{"0 22 * * 1-5", "lunch", "0 12 * * 2", "team-a", "never: there is no CronJob for it"} {
		if !strings.Contains(status, want) {
			t.Errorf("status does not say %q: %s", want, status)
		}
	}
	if r := hibernate(t, 0, "status", as, "--name=lunch"); strings.Contains(r.Stdout, "0 22 * * 1-5") ||
		!strings.Contains(r.Stdout, "0 12 * * 2") {
		t.Errorf("%s", r)
	}
	secret := func() bool {
		_, err := client.CoreV1().Secrets("castai-agent").Get(t.Context(), "castai-hibernate", metav1.GetOptions{})
		return err == nil
	}
	if r := hibernate(t, 0, "uninstall", as, "--yes"); !secret() || !strings.Contains(r.Stdout, "team-a-pause") {
		t.Errorf("the Secret is gone, or its users are not named: %s", r)
	}
	hibernate(t, 0, "uninstall", as, "--yes", "--all")
	list, err := client.BatchV1().CronJobs("castai-agent").List(t.Context(), metav1.ListOptions{})
	if check(t, err); len(list.Items) > 0 || secret() {
		t.Errorf("%d CronJobs are left, or the Secret", len(list.Items))
	}
}

func TestInstallRefusesBeforeAnyWrite(t *testing.T) {
	withAgent(t)
	for name, tc := range map[string]struct {
		env  []string
		args []string
		code int
		want string
	}{
		"a bad schedule": {args: []string{"--pause-schedule=at ten"}, code: 3, want: "at ten"},
		"a bad zone":     {args: []string{"--time-zone=Mars/Olympus"}, code: 3, want: "Mars/Olympus"},
		"overlapping":    {args: []string{"--resume-schedule=5 22 * * 1-5"}, code: 3, want: "overlap"},
		"reversed": {args: []string{"--pause-schedule=0 7 * * 1-5", "--resume-schedule=0 22 * * 1-5"}, code: 3,
			want: "wrong way round"},
		"a week and longer": {args: []string{"--pause-schedule=0 22 * * *", "--resume-schedule=0 7 2 1 *"}, code: 3,
			want: "--accept=long-sleep"},
		"another image's setting": {args: []string{"--accept=lost-pods"}, code: 3, want: "does not read"},
		"a name of a pair":        {args: []string{"--name=my-pause"}, code: 2, want: "leave out the words"},
		"a bad label":             {args: []string{"--hibernate-node-labels=-x=1"}, code: 3, want: "-x"},
		"no label":                {args: []string{"--hibernate-node-labels=x"}, code: 2, want: "KEY=VALUE"},
		"an unknown namespace":    {args: []string{"--namespaces-to-keep=monitorin"}, code: 3, want: "monitorin"},
		"no name of a namespace":  {args: []string{"--namespaces-to-keep=Not_One"}, code: 3, want: "Not_One"},
		"no key":                  {env: []string{"CASTAI_API_KEY=", "CASTAI_API_TOKEN="}, code: 2, want: "--api-key-file"},
		"the placeholder": {env: []string{"CASTAI_API_KEY=CASTAI-API-KEY-REPLACE-ME-WITH-ABOVE=="}, code: 3,
			want: "placeholder"},
		"the placeholder encoded": {env: []string{"CASTAI_API_KEY=Q0FTVEFJLUFQSS1LRVktUkVQTEFDRS1NRS1XSVRILUFCT1ZFLg=="},
			code: 3, want: "placeholder"},
		"no API":              {args: []string{"--api-url=http://api.cast.ai"}, code: 2, want: "https://"},
		"an unknown --accept": {args: []string{"--accept=everything"}, code: 2, want: "everything"},
		"nobody to ask":       {args: []string{"--yes=false", asksNobody}, code: 3, want: "--yes"},
		"another namespace":   {args: []string{"-n", "nowhere"}, code: 3, want: "nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			r := try(t, admin.With(tc.env...), append([]string{"install", "--yes"}, tc.args...)...)
			if r.Code != tc.code || !strings.Contains(r.Stderr, tc.want) {
				t.Errorf("want exit code %d and %q, got %s", tc.code, tc.want, r)
			}
			if _, err := client.CoreV1().ServiceAccounts("castai-agent").Get(context.Background(), "hibernate",
				metav1.GetOptions{}); err == nil {
				t.Error("something was written")
			}
		})
	}
}

// A ClusterRole of that name, which says nothing, may be anybody's.
func TestInstallOverwritesNothingOfOthers(t *testing.T) {
	withAgent(t)
	check(t, server.Apply(t.Context(), `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: hibernate}
rules: [{apiGroups: [apps], resources: [deployments/scale], verbs: [patch]}]
`))
	r := hibernate(t, 3, "install", "--yes")
	if !strings.Contains(r.Stderr, "ClusterRole.rbac.authorization.k8s.io/hibernate") {
		t.Errorf("%s", r)
	}
}

// Cast AI's own installation gets the least rights, and keeps what nobody named.
func TestInstallTakesOverDeployYAML(t *testing.T) {
	withAgent(t)
	published, err := os.ReadFile("../../fixtures/runtime/hibernate.yaml")
	check(t, err)
	check(t, server.Apply(t.Context(), string(published)))
	r := hibernate(t, 0, "install", "--yes", "--image=castai/hibernate:v0.14", asksNobody)
	if !strings.Contains(r.Stdout, "hibernate-admin") {
		t.Errorf("%s", r.Stdout)
	}
	if _, err := client.RbacV1().ClusterRoleBindings().Get(t.Context(), "hibernate-admin",
		metav1.GetOptions{}); err == nil {
		t.Error("the jobs may still do everything")
	}
	role, err := client.RbacV1().Roles("castai-agent").Get(t.Context(), "hibernate", metav1.GetOptions{})
	check(t, err)
	for _, rule := range role.Rules {
		if strings.Contains(strings.Join(rule.Resources, ","), "*") || strings.Contains(strings.Join(rule.Verbs, ","), "*") {
			t.Errorf("the Role still has %v", rule)
		}
	}
	hibernate(t, 0, "uninstall", "--yes")
}

func TestSetLeavesHelmsInstallationToHelm(t *testing.T) {
	withAgent(t)
	published, err := os.ReadFile("../../fixtures/runtime/hibernate.yaml")
	check(t, err)
	check(t, server.Apply(t.Context(), string(published)))
	_, err = server.Kubectl(t.Context(), "annotate", "cronjobs", "-n", "castai-agent", "--all",
		"meta.helm.sh/release-name=night", "meta.helm.sh/release-namespace=castai-agent")
	check(t, err)
	before := cronJobOf(t, "hibernate-pause").ResourceVersion
	r := hibernate(t, 3, "set", "--yes", "--pause-schedule=0 20 * * 1-5", "--namespaces-to-keep=kube-public,default")
	want := `helm upgrade night castai-helm/castai-hibernate -n castai-agent --reuse-values --set-string 'pauseCronSchedule=0 20 * * 1-5' --set-string 'namespacesToKeep=kube-public\,default' --set-string apiUrl=https://api.eu.cast.ai`
	if strings.TrimSpace(r.Stdout) != want {
		t.Errorf("got  %s\nwant %s", r.Stdout, want)
	}
	if cronJobOf(t, "hibernate-pause").ResourceVersion != before {
		t.Error("it was changed")
	}
	hibernate(t, 3, "uninstall", "--yes")
}

func TestInClusterAndLogs(t *testing.T) {
	withAgent(t)
	as := somebody(t, "hibernate")
	w := world{}
	w.addNodes(t, small().nodes[:1])
	check(t, server.SetPodLogs("Pause operation completed."))
	hibernate(t, 0, "install", as, "--yes", "--api-url=https://api.cast.ai", asksNobody)
	r := hibernate(t, 0, "pause", as, "--in-cluster", "--yes")
	if !strings.Contains(r.Stdout, "Pause operation completed.") {
		t.Errorf("no log: %s", r)
	}
	hibernate(t, 0, "resume", as, "--in-cluster", "--yes")
	logs := hibernate(t, 0, "logs", as)
	if strings.Count(logs.Stdout, "Pause operation completed.") != 2 ||
		!strings.Contains(logs.Stderr, "hibernate-resume-manual-") {
		t.Errorf("the logs of both: %s", logs)
	}
	var doc struct {
		Installation struct {
			Runs []struct{ Action, Result string }
		}
	}
	check(t, json.Unmarshal([]byte(hibernate(t, 0, "status", as, "-o", "json").Stdout), &doc))
	if runs := doc.Installation.Runs; len(runs) != 2 || runs[0].Result != "succeeded" {
		t.Errorf("the last runs are %v", runs)
	}
	hibernate(t, 0, "uninstall", as, "--yes")
}

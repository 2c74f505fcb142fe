package hibernate

import (
	"path/filepath"
	"strings"
	"testing"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/castai/kubectl-castai/test/driver"
)

// account is a user with the rights of the jobs, and no others.
func account(t *testing.T) *driver.User {
	t.Helper()
	token, err := server.Kubectl(t.Context(), "create", "token", "hibernate", "-n", "castai-agent")
	check(t, err)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	at := &clientcmdapi.Cluster{Server: server.URL(), CertificateAuthorityData: server.Config.CAData}
	check(t, driver.WriteKubeconfig(path, at, &clientcmdapi.AuthInfo{Token: strings.TrimSpace(string(token))}))
	return admin.Kubeconfig(path)
}

// What install grants is enough for hibernate run, with the environment of the
// CronJobs, on a node that goes itself.
func TestRunAsTheJobs(t *testing.T) {
	w := small()
	w.install(t)
	before := written(t)
	hibernate(t, 0, known("install", "--yes", "--namespaces-to-keep=monitoring", "--protect-removal-disabled")...)
	job := account(t).With("API_KEY="+apiKey, "API_URL="+api.URL, "CLUSTER_ID="+clusterID, "MY_NODE_NAME=od-0",
		"CASTAI_API_KEY=")
	as := func(cronJob string) *driver.User {
		var env []string
		for name, value := range environment(cronJobOf(t, cronJob)) {
			if name != "MY_NODE_NAME" && name != "API_URL" {
				env = append(env, name+"="+value)
			}
		}
		return job.With(env...)
	}
	if r := try(t, as("hibernate-pause"), "run"); r.Code != 0 {
		t.Fatalf("pause: %s", r)
	}
	if phase, _ := at(t); phase != "paused" || enabled(t) {
		t.Errorf("the status says %s", phase)
	}
	if r := try(t, as("hibernate-pause"), "run"); r.Code != 0 || !strings.Contains(r.Stdout, "Nothing to do") {
		t.Errorf("a second pause: %s", r)
	}
	w.addNodes(t, fresh(4))
	if r := try(t, as("hibernate-resume"), "run"); r.Code != 0 {
		t.Fatalf("resume: %s", r)
	}
	asBefore(t, before)
	for name, env := range map[string][]string{
		"no action":      {"ACTION="},
		"another action": {"ACTION=suspend"},
		"no cluster":     {"ACTION=pause", "CLUSTER_ID="},
		"no API":         {"ACTION=pause", "API_URL="},
		"not a boolean":  {"ACTION=pause", "PROTECT_REMOVAL_DISABLED=maybe"},
	} {
		if r := try(t, job.With(env...), "run"); r.Code != 2 {
			t.Errorf("%s: %s", name, r)
		}
	}
	hibernate(t, 0, "uninstall", "--yes")
}

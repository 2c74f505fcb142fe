// Package conformance sends the same requests to a real API server and to the
// one of pkg/cluster/clustertest, which unit tests rest on, and compares the
// answers.
package conformance

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/test/controlplane"
)

// TestConformance runs each table on both servers. Neither has controllers.
func TestConformance(t *testing.T) {
	real := startReal(t)
	stand := clustertest.Serve(t)
	t.Run("what is served", func(t *testing.T) { compareDiscovery(t, real, stand.Config()) })
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			want, got := play(t, real, c.steps), play(t, stand.Config(), c.steps)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the real server (-) and the stand-in (+) differ:\n%s", diff)
			}
		})
	}
}

func startReal(t *testing.T) *rest.Config {
	t.Helper()
	c, err := controlplane.Start(context.WithoutCancel(t.Context()),
		controlplane.Options{NoControllerManager: true, NoScheduler: true, NoKwok: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	return config
}

// compareDiscovery compares the resources that can be listed and deleted.
func compareDiscovery(t *testing.T, real, stand *rest.Config) {
	t.Helper()
	if diff := cmp.Diff(resources(t, real), resources(t, stand)); diff != "" {
		t.Errorf("the real server (-) and the stand-in (+) differ:\n%s", diff)
	}
}

func resources(t *testing.T, config *rest.Config) []string {
	t.Helper()
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	lists, err := client.ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, list := range lists {
		for _, r := range list.APIResources {
			if !slices.Contains(r.Verbs, "list") || !slices.Contains(r.Verbs, "delete") {
				continue
			}
			scope := "cluster"
			if r.Namespaced {
				scope = "namespaced"
			}
			verbs := slices.Sorted(slices.Values(r.Verbs))
			out = append(out, strings.Join([]string{list.GroupVersion, r.Name, r.Kind, scope, strings.Join(verbs, ",")}, " "))
		}
	}
	slices.Sort(out)
	return out
}

// play sends the requests of a case, one after the other, and returns what the
// answers say.
func play(t *testing.T, config *rest.Config, steps []step) []string {
	t.Helper()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	p := &player{t: t, client: client, host: config.Host, known: map[string]string{}}
	defer client.CloseIdleConnections()
	var out []string
	for _, s := range steps {
		out = append(out, s.title()+" -> "+p.send(s))
	}
	return out
}

// player sends requests to one server.
type player struct {
	t      *testing.T
	client *http.Client
	host   string
	known  map[string]string // "uid NAME" and "rv NAME" of what it has seen
}

func (p *player) send(s step) string {
	p.t.Helper()
	for {
		code, answer := p.try(s)
		if !s.served || code == http.StatusOK {
			return answer
		}
	}
}

func (p *player) try(s step) (code int, answer string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), s.method, p.host+p.fill(s.path),
		strings.NewReader(p.fill(s.body)))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("User-Agent", "player/1")
	req.Header.Set("Content-Type", "application/json")
	if s.contentType != "" {
		req.Header.Set("Content-Type", s.contentType)
	}
	if s.accept != "" {
		req.Header.Set("Accept", s.accept)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, p.describe(resp, body)
}

// fill puts what is known into ${uid NAME} and ${rv NAME}.
func (p *player) fill(text string) string {
	for k, v := range p.known {
		text = strings.ReplaceAll(text, "${"+k+"}", v)
	}
	if strings.Contains(text, "${") {
		p.t.Fatalf("%s has something that is not known yet: %v", text, p.known)
	}
	return text
}

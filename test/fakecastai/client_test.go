package fakecastai_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/test/fakecastai"
)

const (
	id       = "2f1e4c1a-6b0d-4d55-9a6e-3f0c6d5b7a10"
	key      = "castai-test-key-0123456789"
	readOnly = "castai-read-only-key-0123456789"
)

// start starts a fake with a cluster of n nodes.
func start(t *testing.T, o fakecastai.Options, n int) (*fakecastai.Server, string) {
	t.Helper()
	o.Key, o.ReadOnlyKey = key, readOnly
	fake := fakecastai.New(o)
	var nodes []castai.Node
	for i := range n {
		nodes = append(nodes, fakecastai.SampleNode(fmt.Sprintf("node-%d", i), fmt.Sprintf("aws:///eu-central-1a/i-%d", i),
			"cast"))
	}
	fake.AddCluster(fakecastai.Sample(id, "demo", nodes...))
	server := httptest.NewServer(fake.Handler())
	t.Cleanup(server.Close)
	return fake, server.URL
}

// connect returns a client that does not wait long.
func connect(t *testing.T, url, secret string) *castai.Client {
	t.Helper()
	k, err := castai.FindKey("-", strings.NewReader(secret+"\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	client, err := castai.New(castai.Options{URL: url, Key: k, UserAgent: "test", Timeout: 300 * time.Millisecond,
		Backoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestEveryPageIsRead(t *testing.T) {
	fake, url := start(t, fakecastai.Options{PageSize: 7}, 30)
	client := connect(t, url, key)
	nodes, err := client.Nodes(t.Context(), id)
	if err != nil || len(nodes) != 30 || nodes[29].Name != "node-29" {
		t.Errorf("%d nodes, %v", len(nodes), err)
	}
	for i := range 9 {
		fake.AddSchedule(castai.HibernationSchedule{Id: fmt.Sprint(i), OrganizationId: fakecastai.Organization})
	}
	if list, err := client.HibernationSchedules(t.Context(), fakecastai.Organization); err != nil || len(list) != 9 {
		t.Errorf("%d schedules, %v", len(list), err)
	}
}

// What passes is tried again; what does not is said at once, with what to do.
func TestFaults(t *testing.T) {
	for _, test := range []struct {
		kind fakecastai.Kind
		// requests that a GET takes with one fault, and with the fault each time.
		once, always int
		text         string
	}{
		{fakecastai.Unauthorized, 1, 1, "the key is not known there"},
		{fakecastai.Forbidden, 1, 1, "lacks the permission"},
		{fakecastai.NotFound, 1, 1, "one organization, in one region"},
		{fakecastai.BadRequest, 1, 1, "invalid request (clusterId: is not known)"},
		{fakecastai.Conflict, 1, 1, "somebody else has changed it"},
		{fakecastai.Busy, 2, 4, "too many requests"},
		{fakecastai.Broken, 2, 4, "on Cast AI's side"},
		{fakecastai.Unavailable, 2, 4, "on Cast AI's side"},
		{fakecastai.Slow, 2, 4, "no answer within 300ms"},
		{fakecastai.Cut, 2, 4, "breaks off"},
		{fakecastai.Reset, 2, 4, "EOF"},
		{fakecastai.Garbage, 2, 4, "not what the API answers"},
		{fakecastai.HTML, 2, 4, "not what the API answers"},
		{fakecastai.Empty, 2, 4, "the answer is empty"},
		{fakecastai.NoContent, 2, 4, "the answer is empty"},
		{fakecastai.Redirect, 4, 4, "redirects to login.example.com"},
	} {
		t.Run(string(test.kind), func(t *testing.T) {
			fake, url := start(t, fakecastai.Options{Slow: 10 * time.Second}, 0)
			client := connect(t, url, key)
			fake.Inject(fakecastai.Fault{Kind: test.kind})
			_, err := client.Cluster(t.Context(), id)
			var e *castai.Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), test.text) ||
				!strings.HasPrefix(err.Error(), "can't get cluster "+id) {
				t.Errorf("the error says: %v", err)
			}
			if passing := test.always > 1; castai.IsPassing(err) != passing {
				t.Errorf("passing is %v: %v", !passing, err)
			}
			if n := len(fake.Requests()); n != test.always {
				t.Errorf("%d requests were made, want %d", n, test.always)
			}
			if test.once == test.always {
				return
			}
			fake.Heal()
			fake.Inject(fakecastai.Fault{Kind: test.kind, Times: 1})
			if c, err := client.Cluster(t.Context(), id); err != nil || c.Name != "demo" {
				t.Errorf("the second try gave %v, %v", c.Name, err)
			}
			if n := len(fake.Requests()) - test.always; n != test.once {
				t.Errorf("%d requests were made, want %d", n, test.once)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	fake, url := start(t, fakecastai.Options{}, 0)
	fake.Inject(fakecastai.Fault{Kind: fakecastai.BusyFor, Times: 1})
	begin := time.Now()
	if _, err := connect(t, url, key).Cluster(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(begin); waited < time.Second {
		t.Errorf("waited %s, and the service asked for 1 s", waited)
	}
}

// A request that could do something twice is sent once.
func TestWritesAreNotRepeated(t *testing.T) {
	for _, kind := range []fakecastai.Kind{fakecastai.Broken, fakecastai.Cut, fakecastai.Reset, fakecastai.Slow} {
		t.Run(string(kind), func(t *testing.T) {
			fake, url := start(t, fakecastai.Options{Slow: 10 * time.Second}, 0)
			fake.Inject(fakecastai.Fault{Kind: kind})
			if _, err := connect(t, url, key).AddNode(t.Context(), id, castai.NodeConfig{InstanceType: "m5.large"}); err == nil {
				t.Error("no error")
			}
			if n := len(fake.Requests()); n != 1 {
				t.Errorf("%d requests were made", n)
			}
		})
	}
}

func TestAnEndedContextEndsARequest(t *testing.T) {
	fake, url := start(t, fakecastai.Options{Slow: 10 * time.Second}, 0)
	fake.Inject(fakecastai.Fault{Kind: fakecastai.Slow})
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(stop) })
	if _, err := connect(t, url, key).Cluster(ctx, id); !errors.Is(err, stop) {
		t.Errorf("ended with %v", err)
	}
}

// Neither errors nor what Go prints of a client's values show the key.
func TestTheKeyIsNotShown(t *testing.T) {
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(map[string]string{"message": "the key " + r.Header.Get("X-API-Key") + " may not"})
	}))
	defer echo.Close()
	client := connect(t, echo.URL, key)
	_, err := client.Cluster(t.Context(), id)
	k, keyErr := castai.FindKey("", nil, func(name string) (string, bool) { return key, name == "CASTAI_API_TOKEN" })
	if keyErr != nil {
		t.Fatal(keyErr)
	}
	document, jsonErr := json.Marshal(k)
	if jsonErr != nil {
		t.Fatal(jsonErr)
	}
	for _, text := range []string{fmt.Sprint(err), fmt.Sprintf("%+v", err), fmt.Sprintf("%v %+v %#v %s %q", k, k, k, k, k),
		string(document)} {
		if strings.Contains(text, key) {
			t.Errorf("the key is shown: %s", text)
		}
	}
	if !strings.Contains(fmt.Sprint(err), "the key (the key) may not") {
		t.Errorf("the error says: %v", err)
	}
}

// A key goes to the API and to nobody whom the API names.
func TestTheKeyStaysWithTheAPI(t *testing.T) {
	got := make(chan string, 10)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter,
		r *http.Request) {
		got <- r.Header.Get("X-API-Key")
	}))
	defer other.Close()
	api := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer api.Close()
	if _, err := connect(t, api.URL, key).Cluster(t.Context(), id); err == nil {
		t.Error("a redirect was followed")
	}
	if len(got) > 0 {
		t.Errorf("another server got %q", <-got)
	}
}

func TestPoliciesKeepEverythingElse(t *testing.T) {
	fake, url := start(t, fakecastai.Options{}, 0)
	client := connect(t, url, key)
	before, err := client.Policies(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	after, err := castai.WithEnabled(before, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.PutPolicies(t.Context(), id, after); err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(fakecastai.SamplePolicies, "true", "false", 1); string(fake.Cluster(id).Policies) != want {
		t.Errorf("the service has\n%s\nwant\n%s", fake.Cluster(id).Policies, want)
	}
	fake.Update(id, func(c *fakecastai.Cluster) { c.Conflicts = 1 })
	if err := client.PutPolicies(t.Context(), id, before); !castai.IsConflict(err) {
		t.Errorf("no conflict, but %v", err)
	}
}

func TestNodesComeAndGo(t *testing.T) {
	_, url := start(t, fakecastai.Options{Delay: time.Millisecond}, 0)
	client, ctx := connect(t, url, key), t.Context()
	added, err := client.AddNode(ctx, id, castai.NodeConfig{InstanceType: "m5.large"})
	if err != nil {
		t.Fatal(err)
	}
	await(t, func() (bool, error) {
		o, err := client.Operation(ctx, added.OperationId)
		return o.Done && o.Error == nil, err
	})
	if n, err := client.Node(ctx, id, added.NodeId); err != nil || n.State.Phase != "ready" || n.AddedBy != "cast" {
		t.Errorf("the node is %+v, %v", n, err)
	}
	operation, err := client.DeleteNode(ctx, id, added.NodeId, time.Minute, true)
	if err != nil || operation == "" {
		t.Fatalf("operation %q, %v", operation, err)
	}
	await(t, func() (bool, error) {
		_, err := client.Node(ctx, id, added.NodeId)
		return castai.IsGone(err), nil
	})
}

func TestDeletedWithoutAnOperation(t *testing.T) {
	_, url := start(t, fakecastai.Options{NoOperation: true}, 1)
	if operation, err := connect(t, url, key).DeleteNode(t.Context(), id, "node-of-node-0", 0, false); err != nil ||
		operation != "" {
		t.Errorf("operation %q, %v", operation, err)
	}
}

func TestAReadOnlyKeyOnlyReads(t *testing.T) {
	_, url := start(t, fakecastai.Options{}, 0)
	client := connect(t, url, readOnly)
	if _, err := client.Cluster(t.Context(), id); err != nil {
		t.Error(err)
	}
	if err := client.Disconnect(t.Context(), id, castai.DisconnectConfig{}); !castai.IsStatus(err, http.StatusForbidden) {
		t.Errorf("the service says %v", err)
	}
}

// await asks until it is so.
func await(t *testing.T, so func() (bool, error)) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for range 2000 {
		switch ok, err := so(); {
		case err != nil:
			t.Fatal(err)
		case ok:
			return
		}
		<-ticker.C
	}
	t.Fatal("it did not come true")
}

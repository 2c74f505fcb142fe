// Package console takes clusters out of Cast AI as a user does, with a real
// control plane, the built plugin, and the fake of the Cast AI API, whose nodes
// are the cluster's.
package console

import (
	"context"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/test/controlplane"
	"github.com/castai/kubectl-castai/test/driver"
	"github.com/castai/kubectl-castai/test/fakecastai"
	"github.com/castai/kubectl-castai/test/fixtures"
)

const (
	// id is the cluster's in the fixtures.
	id  = "2f1e4c1a-6b0d-4d55-9a6e-3f0c6d5b7a10"
	key = "castai-test-key-0123456789-that-nobody-may-see"
)

// The control plane that the tests share, one after the other.
var (
	server *driver.Cluster
	admin  *driver.User
)

func TestMain(m *testing.M) {
	options := driver.Options{Bin: "../../../bin", Nodes: []controlplane.Node{{Name: "node-1",
		ProviderID: "aws:///eu-central-1a/i-0aaa"}}}
	os.Exit(driver.Main(m, options, func(_ context.Context, c *driver.Cluster) error {
		server, admin = c, c.Admin
		return nil
	}))
}

// world is a cluster with Cast AI in it, as Cast AI's service sees it.
type world struct {
	t    *testing.T
	fake *fakecastai.Server
	url  string
	dir  string
	user *driver.User
}

// newWorld installs fixtures, adds two nodes of Cast AI's, and starts a fake
// that knows all of them.
func newWorld(t *testing.T, o fakecastai.Options, sets ...fixtures.Set) *world {
	t.Helper()
	ctx := t.Context()
	machines, err := fakecastai.NewKubernetes(server.Config)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"cast-1", "cast-2"} {
		if err := machines.Remove(ctx, castai.Node{Name: name}); err != nil {
			t.Fatal(err)
		}
		node := controlplane.Node{
			Name: name, ProviderID: fmt.Sprintf("aws:///eu-central-1b/i-0ca%d", i),
			Labels: map[string]string{"provisioner.cast.ai/managed-by": "cast.ai", "provisioner.cast.ai/node-id": "node-of-" +
				name},
		}
		if err := server.AddNode(ctx, node); err != nil {
			t.Fatal(err)
		}
	}
	server.Install(t, sets...)
	nodes, err := machines.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	o.Key, o.Nodes = key, machines
	if o.Delay == 0 {
		o.Delay = 300 * time.Millisecond
	}
	w := &world{t: t, fake: fakecastai.New(o), dir: t.TempDir(), user: admin.With("CASTAI_API_KEY=" + key)}
	w.fake.AddCluster(fakecastai.Sample(id, "demo", nodes...))
	w.fake.AddSchedule(castai.HibernationSchedule{
		Id: "s-1", OrganizationId: fakecastai.Organization, Name: "nights", Enabled: true,
		ClusterAssignments: castai.ClusterAssignments{Items: []castai.ClusterAssignment{{ClusterId: id},
			{ClusterId: "another"}}},
	})
	api := httptest.NewServer(w.fake.Handler())
	t.Cleanup(api.Close)
	w.url = api.URL
	return w
}

// castai runs kubectl castai, expects it to end with code, and looks for the key
// in everything that it shows and leaves.
func (w *world) castai(code int, args ...string) driver.Result {
	w.t.Helper()
	r := w.user.Expect(w.t, code, args...)
	w.secret(r.Stdout + r.Stderr)
	return r
}

// secret fails the test if a text or a file has the key.
func (w *world) secret(text string) {
	w.t.Helper()
	if strings.Contains(text, key) {
		w.t.Errorf("the key is shown in: %s", text)
	}
	root := os.DirFS(w.dir)
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(root, path)
		if strings.Contains(string(content), key) {
			w.t.Errorf("%s has the key", path)
		}
		return err
	})
	if err != nil {
		w.t.Error(err)
	}
}

// accepted says that it is this cluster: the API knows the UID of kube-system only
// of clusters that are "anywhere".
const accepted = "--accept=console-identity"

// offboard returns the arguments of an offboarding with the console.
func (w *world) offboard(more ...string) []string {
	return append([]string{
		"offboard", "--yes", "--console", "--cluster-id=" + id, accepted, "--api-url=" +
			w.url, "--poll-interval=50ms", "--clean-up-timeout=2s", "--settle=1s",
		"--backup-dir=" + filepath.Join(w.dir, fmt.Sprintf("backup-%d", len(w.fake.Requests()))),
	}, more...)
}

// unchanged fails the test if do changed anything in the cluster or at the console.
func (w *world) unchanged(do func()) {
	w.t.Helper()
	writes := len(w.fake.Writes())
	server.Unchanged(w.t, do)
	if done := w.fake.Writes()[writes:]; len(done) > 0 {
		w.t.Errorf("the console was changed: %q", done)
	}
}

func has(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in:\n%s", part, text)
		}
	}
}

package page

// The names of the benchmarks.
const (
	Offboard  = "offboard"
	Stuck     = "stuck"
	Living    = "living"
	Window    = "window"
	Inventory = "inventory"
	Unstick   = "unstick"
	Restore   = "restore"
	Planning  = "planning"
	Start     = "start"
)

// The ways of doing something.
const (
	Castai     = "kubectl castai"
	Documented = "documented commands"
	Forced     = "without clean-up"
	Kubectl    = "kubectl"
	Floor      = "floor"
)

// Gone is the part of a floor that ends when the namespace is gone.
const Gone = "until the namespace is gone"

// Benchmark says what is measured, and what must come out.
type Benchmark struct {
	Name, Title string
	// Text explains what each way does.
	Text string
	// Base is the way that the others are compared with.
	Base string
	// Columns are the figures in its table, beside wall time.
	Columns []column
	// Sizes names what its sizes count; empty: it has none.
	Sizes   string
	Targets []target
}

// column is a figure in a table.
type column struct {
	title  string
	format string
	figure func(Sample) float64
}

// target is an upper bound of a figure of the plugin at the largest size.
type target struct {
	text    string
	most    float64
	format  string
	measure func(*Run) (float64, bool)
}

var (
	processor = column{"CPU (s)", "%.2f", cpu}
	peak      = column{"peak memory (MiB)", "%.0f", memory}
	all       = column{"requests", "%.0f", requests("")}
	lists     = column{"LIST", "%.0f", requests("list")}
	gets      = column{"GET", "%.0f", requests("get")}
	deletes   = column{"DELETE", "%.0f", requests("delete")}
	patches   = column{"PATCH", "%.0f", requests("patch")}
	watches   = column{"WATCH", "%.0f", requests("watch")}
	left      = column{"left", "%.0f", counted("left")}
	touched   = column{"of others, touched", "%.0f", counted("touched")}
)

// Benchmarks returns what the page shows, in its order.
func Benchmarks() []Benchmark {
	offboard := []column{processor, peak, all, lists, gets, deletes, patches, watches, left, touched}
	return []Benchmark{
		{
			Name: Offboard, Title: "Offboarding, nothing stuck", Base: Documented, Columns: offboard,
			Text: `Nine charts of Cast AI's without Liqo and castware-operator, what they make at run time, and objects of others
with similar names, each time in a fresh cluster; the finalizers of all custom resources are taken off beforehand, as
live controllers would. *documented commands* is the procedure of Cast AI's documentation with an unchanged kubectl
([test/bench/documented.sh](../test/bench/documented.sh)). *kubectl castai* is ` +
				"`offboard --yes`" + `: it
also judges every object, makes a backup, and looks again at the end, when nothing has come back for 5 s. *left* are
objects of Cast AI's that are still there, *of others, touched* those of others that are gone or changed, both counted
from snapshots of the whole cluster, whatever the commands say.`,
			Targets: []target{
				wall("wall time, of the documented commands'", Documented, 0.3),
				{"objects left", 0, "%.0f", median(counted("left"))},
				{"objects of others touched", 0, "%.0f", median(counted("touched"))},
			},
		},
		{
			Name: Stuck, Title: "Offboarding, with what gets stuck", Base: Documented, Columns: offboard,
			Text: `All charts with Liqo and castware-operator, custom resources with finalizers that no controller removes, webhooks
without a backend, and an APIService that dies with its namespace. A documented command that waits is given up after a
while, the documented way out for a stuck namespace is taken, and the next command follows.`,
			Targets: []target{
				{"objects left", 0, "%.0f", median(counted("left"))},
				{"objects of others touched", 0, "%.0f", median(counted("touched"))},
			},
		},
		{
			Name: Living, Title: "Offboarding, with controllers that run", Base: Documented,
			Columns: []column{processor, peak, all, deletes, patches, {"not as before", "%.0f", counted("left")}},
			Text: `An operator that has installed an agent, an evictor and a cluster-controller as Helm releases, all running as
processes with Leases and webhooks, which put back what is taken away and clean up when they are asked to. *kubectl
castai* is ` + "`offboard --yes`" + `: it lets the operator uninstall its components. *without clean-up* is the same with
` + "`--clean-up-timeout=0`" + `: everything is stopped first, and nobody is asked to clean up. *not as before* are the
objects of the whole cluster that are new, gone or changed when everything has come to rest.`,
			Targets: []target{{"objects not as before", 0, "%.0f", median(counted("left"))}},
		},
		{
			Name: Window, Title: "The window before a namespace's deletion", Base: Castai,
			Text: `From when the API server received the first of the last lists of what is in the namespace castai-agent, to when it
answered its deletion, by its audit log: what appears in a namespace within that time may go with it, unseen. Each round
installs the agent's chart on the same server and takes it out again.`,
		},
		{
			Name: Inventory, Title: "Inventory", Base: Floor, Sizes: "objects of others", Columns: []column{processor, peak, all,
				lists},
			Text: "`kubectl castai status -o json`" + ` in a cluster with Cast AI, 300 CustomResourceDefinitions of others, and
more and more of their objects: ConfigMaps, Secrets, ServiceAccounts, Deployments, Roles, custom resources. *floor* lists
the same resources as metadata in protobuf, in pages of 500, 16 requests at a time, over a connection that is open, and
throws the answers away: nothing that looks at every object can take less of the server's time. It and *kubectl castai*
take five inventories in turn in each round, of which the middle one counts. *kubectl* is ` +
				"`kubectl get -A -o name`" + `
of all resource types that can be listed.`,
			Targets: []target{
				wall("wall time, of the floor's", Floor, 1.5),
				{"peak memory (MiB)", 150, "%.0f", median(memory)},
				{"growth of wall time (exponent)", 1, "%.2f", growth(Castai, seconds)},
				{"LIST requests, of the floor's", 1, "%.2f", ratio(Floor, requests("list"))},
			},
		},
		{
			Name: Unstick, Title: "Freeing a stuck namespace", Base: Floor, Sizes: "objects with finalizers",
			Columns: []column{processor, peak, all, lists, gets, patches, {"until the namespace is gone (s)", "%.1f", part(Gone)}},
			Text: "`kubectl castai unstick-ns --yes --patience=1s`" +
				` on a namespace whose ConfigMaps have finalizers that nobody removes,
from its start to the end of the namespace, with a backup of what it touches. *floor* sends one PATCH for each object, 16
at a time, without looking at anything; then nobody wakes the namespace controller, which comes when its own backoff
ends, and *until the namespace is gone* is the time to that.`,
			Targets: []target{
				wall("wall time, of the floor's PATCHes", Floor, 1.5),
				{"peak memory (MiB)", 100, "%.0f", median(memory)},
			},
		},
		{
			Name: Restore, Title: "Restoring", Base: Kubectl, Columns: []column{processor, peak, all, gets, patches},
			Text: "`kubectl castai restore DIR --yes`" + ` of what the offboarding without anything stuck removed. *kubectl* is
` + "`kubectl apply --server-side --force-conflicts --recursive`" +
				` of the same files right after, when all is there already.`,
		},
		{
			Name: Planning, Title: "Planning alone", Base: Castai, Sizes: "objects in a snapshot",
			Text:    "Judging every object of a snapshot and planning the offboarding, without any request: `go test -bench=BenchmarkPlan ./pkg/ownership`.",
			Targets: []target{{"wall time (s)", 0.5, "%.2f", median(seconds)}},
		},
		{
			Name: Start, Title: "Start-up", Base: Kubectl, Columns: []column{processor, peak},
			Text:    "`kubectl-castai version` and `kubectl version --client`: programs that do nothing, so that the time is that of starting.",
			Targets: []target{wall("wall time, of kubectl's", Kubectl, 1.0/3)},
		},
	}
}

// wall is a target for the ratio of the plugin's wall time to that of another way.
func wall(text, to string, most float64) target {
	return target{text, most, "%.2f", ratio(to, seconds)}
}

// ratio compares the plugin with another way at the largest size.
func ratio(to string, figure func(Sample) float64) func(*Run) (float64, bool) {
	return func(r *Run) (float64, bool) {
		size := r.largest()
		a, b := r.series(Castai, size), r.series(to, size)
		if a == nil || b == nil {
			return 0, false
		}
		return ratios(a, b, figure).Median, true
	}
}

// median is that of a figure of the plugin at the largest size.
func median(figure func(Sample) float64) func(*Run) (float64, bool) {
	return func(r *Run) (float64, bool) {
		s := r.series(Castai, r.largest())
		if s == nil {
			return 0, false
		}
		return s.of(figure).Median, true
	}
}

// growth is the exponent with which a figure grows with the size.
func growth(way string, figure func(Sample) float64) func(*Run) (float64, bool) {
	return func(r *Run) (float64, bool) {
		var sizes, values []float64
		for i := range r.Series {
			if s := &r.Series[i]; s.Way == way {
				sizes = append(sizes, float64(s.Size))
				values = append(values, s.of(figure).Median)
			}
		}
		return exponent(sizes, values)
	}
}

func (r *Run) largest() int {
	most := 0
	for _, s := range r.Series {
		most = max(most, s.Size)
	}
	return most
}

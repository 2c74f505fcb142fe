package ownership

import (
	"net/url"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// read decodes the stored releases. Of several revisions of a release the
// newest counts. What can't be decoded proves nothing.
func (w *world) read(stored []cluster.StoredRelease) {
	stored = slices.SortedFunc(slices.Values(stored), func(a, b cluster.StoredRelease) int { return a.Ref.Compare(b.Ref) })
	newest := map[releaseKey]int{}
	for i, r := range decodeReleases(stored) {
		if r == nil {
			continue
		}
		s, n := stored[i], 0
		if o := w.byRef[s.Ref]; o != nil {
			n = revision(o)
		}
		if old, ok := newest[r.key()]; !ok || n >= old {
			newest[r.key()], w.release[r.key()] = n, r
		}
	}
	for _, r := range w.release {
		w.releases = append(w.releases, r)
	}
	slices.SortFunc(w.releases, func(a, b *release) int { return a.Stored.Compare(b.Stored) })
	for _, r := range w.releases {
		for _, o := range r.objects {
			ref := w.resolve(r, o)
			w.listed[ref] = append(w.listed[ref], listing{r, o})
		}
	}
}

// decodeReleases decodes releases at the same time, for it takes as long as
// judging tens of thousands of objects. One that can't be decoded is nil.
func decodeReleases(stored []cluster.StoredRelease) []*release {
	out := make([]*release, len(stored))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, s := range stored {
		group.Go(func() error {
			if r, err := decodeRelease(s); err == nil {
				out[i] = r
			}
			return nil
		})
	}
	_ = group.Wait() // none of them returns an error
	return out
}

// resolve gives the object of a manifest the namespace that it was installed in.
func (w *world) resolve(r *release, o releaseObject) cluster.Ref {
	ref := cluster.Ref{Group: o.gk.Group, Kind: o.gk.Kind, Namespace: o.namespace, Name: o.name}
	switch {
	case !w.served[o.gk]:
		ref.Namespace = ""
	case ref.Namespace == "":
		ref.Namespace = r.Namespace
	}
	return ref
}

// chartOf returns the component whose chart an object of a release comes from:
// the innermost chart that the catalogue knows. third is the chart of somebody
// else that it comes from instead.
func (w *world) chartOf(r *release, o releaseObject) (component *Component, third string) {
	charts := []string{r.Chart}
	for _, c := range o.source[min(1, len(o.source)):] { // the outermost is the release's own
		if name := r.aliases[c]; name != "" && len(charts) == 1 && !w.cat.thirdParty(c) {
			c = name
		}
		charts = append(charts, c)
	}
	for i, c := range slices.Backward(charts) {
		if w.cat.thirdParty(c) && i > 0 {
			return nil, c
		}
		if component = w.cat.chartWithin(c, charts[:i]); component != nil {
			return component, ""
		}
		if component = w.cat.chart(c); component != nil && (unmistakable(c) && !w.contradicted(r, component) || w.corroborated(r, charts[:i])) {
			return component, ""
		}
	}
	if w.selfEvident(r) {
		return &Component{Name: r.Chart}, ""
	}
	return nil, ""
}

// contradicted tells whether a release of a chart with Cast AI's very name runs
// nothing that looks like it: somebody else has taken the name.
func (w *world) contradicted(r *release, c *Component) bool {
	workloads := false
	for _, o := range r.objects {
		if len(o.images) == 0 || o.hook {
			continue // hooks run kubectl, whoever they are of
		}
		workloads = true
		if w.cat.namedAfter(o.name) != nil || slices.ContainsFunc(o.images, func(i string) bool {
			return w.cat.image(i) || c.runs(i) || strings.Contains(i, "castai") || strings.Contains(i, "cast.ai/")
		}) {
			return false
		}
	}
	return workloads
}

// corroborated tells whether a release of a chart with an ordinary name is Cast
// AI's all the same: by an image, by what the chart says of its origin, by where
// it is installed, or by the chart that it came with.
func (w *world) corroborated(r *release, parents []string) bool {
	if slices.ContainsFunc(parents, unmistakable) || w.namedHome(r.Namespace) != nil || slices.ContainsFunc(r.home, w.cat.site) {
		return true
	}
	return slices.ContainsFunc(r.objects, func(o releaseObject) bool { return slices.ContainsFunc(o.images, w.cat.image) })
}

// selfEvident tells whether a release of a chart that the catalogue does not
// know is Cast AI's: it is called like one, and all that it runs comes from the
// place that only Cast AI publishes to.
func (w *world) selfEvident(r *release) bool {
	if !unmistakable(r.Chart) && !slices.ContainsFunc(r.home, w.cat.site) {
		return false
	}
	var all []string
	for _, o := range r.objects {
		all = append(all, o.images...)
	}
	return len(all) > 0 && !slices.ContainsFunc(all, func(i string) bool { return !w.cat.published(i) })
}

// site tells whether a link or an email address leads to Cast AI.
func (c *Catalogue) site(word string) bool {
	if _, host, ok := strings.Cut(word, "@"); ok && !strings.Contains(word, "/") {
		return c.inDomain(host)
	}
	u, err := url.Parse(word)
	if err != nil {
		return false
	}
	switch host := strings.ToLower(u.Hostname()); host {
	case "github.com":
		return strings.HasPrefix(strings.ToLower(u.Path), "/castai/")
	case "castai.github.io":
		return true
	default:
		return c.inDomain(host)
	}
}

// castAIRelease tells whether a release is Cast AI's as a whole.
func (w *world) castAIRelease(r *release) bool {
	if !r.decided {
		r.component, _ = w.chartOf(r, releaseObject{})
		r.decided = true
	}
	return r.component != nil
}

func (w *world) releaseNames() []string {
	var out []string
	for _, r := range w.releases {
		if w.castAIRelease(r) {
			out = append(out, text("%s (%s-%s)", r, r.Chart, r.Version))
		}
	}
	slices.Sort(out)
	return out
}

// releaseOf returns the names of the release that Helm's marks on an object name.
func releaseOf(o *cluster.Object) (releaseKey, bool) {
	key := releaseKey{o.Annotations["meta.helm.sh/release-namespace"], o.Annotations["meta.helm.sh/release-name"]}
	return key, key.name != ""
}

// ruleRelease: a Helm release of one of Cast AI's charts lists it, and the object
// agrees. A list alone proves nothing: whoever may write Secrets somewhere can
// make one, of anybody's objects.
func (w *world) ruleRelease() {
	for _, ref := range sortedRefs(w.listed) {
		o := w.byRef[ref]
		if o == nil || ref.Kind == "Namespace" || w.owned(o) {
			continue
		}
		for _, l := range w.listed[ref] {
			w.judgeListing(o, l)
		}
	}
	for _, r := range w.releases {
		if !w.castAIRelease(r) {
			continue
		}
		for _, o := range w.records[r.key()] {
			if !w.owned(o) {
				w.own(o, r.component, Evidence{Rule: "release-record", Text: text("Helm keeps the release %s of chart %s-%s in it", r.Name, r.Chart, r.Version)})
			}
		}
	}
}

func (w *world) judgeListing(o *cluster.Object, l listing) {
	component, third := w.chartOf(l.release, l.object)
	e := Evidence{Rule: "release", Text: text("the Helm release %s lists it (chart %s-%s)", l.release, l.release.Chart, l.release.Version), From: &l.release.Stored}
	if l.object.hook {
		e.Text = text("a hook of the Helm release %s makes it (chart %s-%s)", l.release, l.release.Chart, l.release.Version)
	}
	key, marked := releaseOf(o)
	switch {
	case marked && key != l.release.key():
		// Another release has taken the object over.
	case component != nil && isSharedCRD(o, w):
		w.hint(o, e)
	case component != nil && (marked || w.agrees(o, l)):
		w.own(o, component, e)
	case component != nil:
		w.hint(o, e)
		w.deny(o, Evidence{Rule: "release", Text: "it has no marks of that release, and a list alone proves nothing"})
	case third != "" && w.castAIRelease(l.release) && marked:
		w.hint(o, e)
		w.deny(o, Evidence{Rule: "third-party", Text: text("it comes from the chart %s, which is not Cast AI's and which others may use", third)})
	}
}

// agrees tells whether an object without Helm's marks is the one that a release
// lists: one that a hook made, or one that lost them. It must be where the
// release is, or say by its labels or name that it is the component's.
func (w *world) agrees(o *cluster.Object, l listing) bool {
	if slices.ContainsFunc(w.listed[o.Ref()], func(other listing) bool { return !w.castAIRelease(other.release) }) {
		return false
	}
	if mark := w.labelled(o); mark.chart != "" {
		return mark.component != nil
	}
	if o.Namespace != "" && w.namedHome(o.Namespace) != nil {
		return true
	}
	if !l.object.hook || o.Annotations["helm.sh/hook"] == "" || isBuiltinRole(o) {
		return false
	}
	return o.Namespace == l.release.Namespace || strings.HasPrefix(o.Name, l.release.Name+"-") || w.cat.namedAfter(o.Name) != nil
}

// isSharedCRD tells whether an object is a CRD of a group that is not Cast
// AI's: removing it removes everybody's objects.
func isSharedCRD(o *cluster.Object, w *world) bool { return isCRD(o) && w.crdGroup(o) == nil }

// ruleRecords: the record of a release that could not be read, while all that
// Helm marked as part of this release is Cast AI's.
func (w *world) ruleRecords() {
	mine := map[releaseKey]bool{} // whether all of a release is owned
	for _, o := range w.ownedObjects() {
		if key, marked := releaseOf(o); marked && w.release[key] == nil && w.records[key] != nil {
			mine[key] = true
		}
	}
	if len(mine) == 0 {
		return
	}
	for _, o := range w.snap.Objects {
		if key, marked := releaseOf(o); marked && mine[key] && o.Resource.Kind != "Namespace" && !w.owned(o) {
			mine[key] = false
		}
	}
	for key, all := range mine {
		if !all {
			continue
		}
		for _, o := range w.records[key] {
			w.own(o, nil, Evidence{Rule: "release-record", Text: text("Helm keeps the release %s in it, and all that is marked as part of this is Cast AI's", key.name)})
		}
	}
}

// ruleDangling: Helm's marks name a release that is gone, and the chart is Cast
// AI's. That is what an earlier, unfinished removal leaves.
func (w *world) ruleDangling() {
	for _, o := range w.charted {
		key, marked := releaseOf(o)
		if !marked || w.owned(o) || o.Resource.Kind == "Namespace" || w.records[key] != nil {
			continue
		}
		mark := w.labelled(o)
		if !unmistakable(mark.chart) && w.namedHome(key.namespace) == nil {
			continue
		}
		// Cast AI's charts put nothing but roles outside of their namespace; a copy
		// of something, with all its marks, is the more likely explanation.
		if o.Namespace != "" && o.Namespace != key.namespace && w.namedHome(o.Namespace) == nil && o.Resource.Group != rbac {
			continue
		}
		w.claim(o, mark.component, Evidence{Rule: "dangling", Text: text("Helm marked it as part of %s/%s (chart %s), a release that is gone", key.namespace, key.name, mark.chart)})
	}
}

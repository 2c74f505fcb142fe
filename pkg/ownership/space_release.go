package ownership

import (
	"slices"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// chartOf returns the component whose chart an object of a release comes from:
// the innermost chart that the catalogue knows. third is the chart of somebody
// else that this one brings along, if the object comes from there.
func (v *spaceView) chartOf(r *release, o releaseObject) (component *Component, third *ThirdParty) {
	charts := []string{r.Chart}
	for _, c := range o.source[min(1, len(o.source)):] { // the outermost is the release's own
		if name := r.aliases[c]; name != "" && len(charts) == 1 && v.cat.thirdParty(c) == nil {
			c = name
		}
		charts = append(charts, c)
	}
	for i, c := range slices.Backward(charts) {
		if t := v.cat.thirdParty(c); t != nil && i > 0 && third == nil {
			third = t
			continue
		}
		if component = v.cat.chartWithin(c, charts[:i]); component == nil {
			component = v.chartNamed(c)
		}
		if component != nil && (v.corroborated(charted{chart: c, component: component}) ||
			slices.ContainsFunc(charts[:i+1], v.cat.unmistakable)) {
			return component, third
		}
	}
	return nil, third
}

// ownRelease tells whether a release is Cast AI's as a whole.
func (v *spaceView) ownRelease(r *release) bool {
	component, _ := v.chartOf(r, releaseObject{})
	return component != nil
}

// listedByOwnChart tells whether an object comes from one of Cast AI's charts
// inside of a release of somebody else's.
func (v *spaceView) listedByOwnChart(o *cluster.Object) bool {
	return slices.ContainsFunc(v.listed[o.Ref()], func(l listing) bool {
		component, third := v.chartOf(l.release, l.object)
		return component != nil && third == nil
	})
}

// aliasRelease tells whether the chart of a release itself is Cast AI's under a name
// that the catalogue does not have.
func (v *spaceView) aliasRelease(r *release) bool { return v.aliases[alias{r.Chart, r.Name}] }

// listedByAlias tells whether an object comes from a chart under another name than
// its own, one that is Cast AI's or one of which the record does not tell whose it
// is: such a record counts neither for nor against it, as if it were gone.
func (v *spaceView) listedByAlias(o *cluster.Object) bool {
	return slices.ContainsFunc(v.listed[o.Ref()], func(l listing) bool {
		chart := l.release.Chart
		if n := len(l.object.source); n > 1 {
			chart = l.object.source[n-1]
			if name, renamed := l.release.aliases[l.object.source[1]]; renamed && name == "" {
				return true
			}
		} else if !ownName(chart) {
			return false // somebody's own chart around programs of Cast AI's
		}
		return v.aliases[alias{chart, l.release.Name}]
	})
}

// judgeReleases: a Helm release of one of Cast AI's charts in this namespace
// lists the object, and the object agrees.
func (v *spaceView) judgeReleases() {
	for _, o := range v.objects {
		if v.owned(o) {
			continue
		}
		for _, l := range v.listed[o.Ref()] {
			v.judgeListing(o, l)
		}
	}
	for _, r := range v.releases {
		if !v.ownRelease(r) {
			continue
		}
		component, _ := v.chartOf(r, releaseObject{})
		for _, o := range v.records {
			if o.Labels["name"] == r.Name && !v.owned(o) {
				v.own(o, component, Evidence{Rule: "release-record", Text: text("Helm keeps the release %s of chart %s-%s in it",
					r.Name, r.Chart, r.Version)})
			}
		}
	}
}

func (v *spaceView) judgeListing(o *cluster.Object, l listing) {
	component, third := v.chartOf(l.release, l.object)
	e := Evidence{Rule: "release", Text: text("the Helm release %s lists it (chart %s-%s)", l.release, l.release.Chart,
		l.release.Version), From: &l.release.Stored}
	if l.object.hook {
		e.Text = text("a hook of the Helm release %s makes it (chart %s-%s)", l.release, l.release.Chart, l.release.Version)
	}
	key, marked := releaseOf(o)
	switch {
	case marked && key != l.release.key():
		// Another release has taken the object over.
	case component != nil && third != nil:
		v.judgeThird(o, component, third, e)
	case component != nil && !v.cat.makesItself(component, o) && !l.object.vendored():
		v.hint(o, e)
		v.deny(o, Evidence{Rule: "release", Text: text("Cast AI's chart %s does not make it: a wrapper of somebody's may have "+
			"that name, too", l.release.Chart)})
	case component != nil && !tenantCanDelete(o):
		v.judgeGuarded(o, component, e)
	case component != nil && (marked || v.agrees(o)):
		v.own(o, component, e)
	case component != nil:
		v.hint(o, e)
		v.deny(o, Evidence{Rule: "release", Text: "it has no marks of that release, and a list alone proves nothing"})
	}
}

// judgeThird judges what a chart of Cast AI's has from somebody else's chart: it
// goes with that chart's release, unless others rely on it or the administrator
// of the namespace could not have deleted it.
func (v *spaceView) judgeThird(o *cluster.Object, component *Component, third *ThirdParty, e Evidence) {
	_, marked := releaseOf(o)
	if third.Stays == "" && slices.Contains(third.Of, component.Name) && marked && tenantCanDelete(o) {
		v.own(o, component, e)
		return
	}
	v.hint(o, e)
	v.deny(o, Evidence{Rule: "third-party", Text: third.fate()})
}

// judgeGuarded judges an object that the administrator of a namespace could not
// have deleted by himself. A record that he can write must not do it for him:
// the object's own marks must say that it is Cast AI's.
func (v *spaceView) judgeGuarded(o *cluster.Object, component *Component, e Evidence) {
	if v.ownMarks(o) {
		v.own(o, component, e)
		return
	}
	v.hint(o, e)
	v.deny(o,
		Evidence{Rule: "release",
			Text: text("whoever may write the release's record may not delete a %s, which has no mark of that chart itself",
				o.Resource.Kind)})
}

// ownMarks tells whether the marks on an object itself say that it is Cast AI's:
// the label of a chart; or a name of the catalogue, with Helm's mark of an
// installation that cluster-scoped objects of Cast AI's belong to.
func (v *spaceView) ownMarks(o *cluster.Object) bool {
	if c := v.chart(o); c.component != nil {
		return v.corroborated(c)
	}
	key, marked := releaseOf(o)
	return v.runtimeObject(o) != nil && (!marked || v.above.installed()[key])
}

// runtimeObject returns the component that makes an object of this kind and
// name, or of the name that an installation here makes of it.
func (v *spaceView) runtimeObject(o *cluster.Object) *Component {
	r := o.Ref()
	if c := v.cat.runtimeObject(r); c != nil {
		return c
	}
	if name := v.installedAs(o); name != "" && len(r.Name) > len(name)+1 && r.Name[:len(name)+1] == name+"-" {
		r.Name = r.Name[len(name)+1:]
		return v.cat.runtimeObject(r)
	}
	return nil
}

// agrees tells whether an object without Helm's marks is the one that a release
// lists: one that a hook made, or one that lost them.
func (v *spaceView) agrees(o *cluster.Object) bool {
	if slices.ContainsFunc(v.listed[o.Ref()], func(l listing) bool { return !v.ownRelease(l.release) }) {
		return false
	}
	if c := v.chart(o); c.value != "" {
		return c.component != nil
	}
	return true
}

// tenantCanDelete tells whether the ClusterRole admin, bound in a namespace, may
// write and delete such an object (plugin/pkg/auth/authorizer/rbac/bootstrappolicy
// policy.go of Kubernetes 1.36: editor and admin).
func tenantCanDelete(o *cluster.Object) bool {
	return tenantKinds[o.Ref().GroupKind().String()]
}

var tenantKinds = func() map[string]bool {
	out := map[string]bool{}
	for _, kind := range []string{
		"ConfigMap", "Secret", "Service", "ServiceAccount", "PersistentVolumeClaim", "Pod", "Endpoints",
		"ReplicationController",
		"Deployment.apps", "StatefulSet.apps", "DaemonSet.apps", "ReplicaSet.apps", "Job.batch", "CronJob.batch",
		"HorizontalPodAutoscaler.autoscaling", "PodDisruptionBudget.policy", "Ingress.networking.k8s.io",
		"NetworkPolicy.networking.k8s.io", "Role." + rbac, "RoleBinding." + rbac, "Lease.coordination.k8s.io",
	} {
		out[kind] = true
	}
	return out
}()

// judgeInstalled: it has the label of one of Cast AI's charts, in a home, and
// nothing in it says that another release owns it. Beside others, who may have
// copied a label, Helm's marks or the name of an installation here must agree.
// Bindings, and roles that have any, are judged by whom they serve.
func (v *spaceView) judgeInstalled() {
	for _, o := range v.objects {
		c := v.chart(o)
		if c.value == "" {
			v.judgeApp(o)
		}
		if c.component == nil || v.owned(o) || !v.corroborated(c) || v.judgedByUse(o) {
			continue
		}
		key, marked := releaseOf(o)
		named := v.byName()
		_, workload := podSpec(o)
		switch {
		case marked && !v.above.isHome(key.namespace):
			continue
		case marked, named && !workload, v.installedAs(o) != "":
		case workload && v.called(o.Name) != nil:
		default:
			continue
		}
		v.claim(o, c.component, Evidence{Rule: "installed",
			Text: text("it is in namespace %s, where Cast AI lives, and has the label helm.sh/chart=%s", v.name,
				c.value), From: v.home.From})
	}
}

// judgeApp: charts without the label of their chart still label what they make
// with the name of the program. People use that label for what they make for it,
// too, and Argo CD's label of an application on all that is in it: the object's
// name, or Helm's mark of a release here, must agree.
func (v *spaceView) judgeApp(o *cluster.Object) {
	name := o.Labels["app.kubernetes.io/name"]
	component := v.app(name)
	if component == nil {
		component = v.aliased(o)
	}
	_, workload := podSpec(o)
	if component == nil || workload || v.owned(o) || !tenantCanDelete(o) || v.judgedByUse(o) || !v.byName() &&
		v.installedAs(o) == "" {
		return
	}
	if len(o.Owners) > 0 || o.Resource.Group == "" && o.Resource.Kind == "Pod" {
		return
	}
	e := Evidence{Rule: "installed", Text: text("it is in namespace %s, where Cast AI lives, and has the marks of %s",
		v.name, component.Name), From: v.home.From}
	named := v.called(o.Name) != nil || v.cat.accounts[o.Name] == component || v.runtimeObject(o) == component
	if v.aliased(o) == nil && !v.markedHere(o) &&
		(!named || !v.cat.unmistakable(name) && !v.above.lives[v.name][component]) {
		v.hint(o, e)
		v.deny(o, Evidence{Rule: "app-label", Text: "neither its name nor a release says that Cast AI made it"})
		return
	}
	v.claim(o, component, e)
}

// aliased returns the component that an object with the label of an alias is
// called after: NAME or NAME-anything, with a name that nobody else gives.
func (v *spaceView) aliased(o *cluster.Object) *Component {
	c, release := v.label(o), releaseName(o)
	if c.value == "" || !v.aliases[alias{c.chart, release}] {
		return nil
	}
	return v.after(o.Name, release)
}

// judgedByUse tells whether it is whom an object serves that says whose it is.
func (v *spaceView) judgedByUse(o *cluster.Object) bool {
	return o.Resource.Group == rbac && (o.Resource.Kind == "RoleBinding" || len(v.boundBy[o.Ref()]) > 0)
}

// judgeRecords: the record of a release that could not be read, or of a chart that
// the catalogue does not name, while all that Helm marked here as part of this
// release is Cast AI's.
func (v *spaceView) judgeRecords() {
	mine, others := map[string]bool{}, map[string]bool{}
	for _, o := range v.objects {
		key, marked := releaseOf(o)
		if r := v.releaseHere(key); marked && key.namespace == v.name && (r == nil || v.aliasRelease(r)) {
			mine[key.name] = mine[key.name] || v.owned(o)
			others[key.name] = others[key.name] || !v.owned(o)
		}
	}
	for _, o := range v.records {
		if name := o.Labels["name"]; mine[name] && !others[name] && !v.owned(o) {
			v.own(o, nil,
				Evidence{Rule: "release-record",
					Text: text("Helm keeps the release %s in it, and all that is marked as part of this is Cast AI's", name)})
		}
	}
}

package ownership

import (
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// judgeWorkloads: it runs a component's own image and has this component's name
// or labels; in a namespace that Cast AI has by name, the published image will do.
// So will the name of an installation here together with Cast AI's ServiceAccount,
// a component's labels together with the ServiceAccount that only it has, or a name
// that nobody else gives together with Helm's marks of an installation here: some of
// Cast AI's programs come in images of others.
func (v *spaceView) judgeWorkloads() {
	for _, w := range v.workloads {
		if w.owner || v.owned(w.Object) {
			continue
		}
		component, mark := v.marked(w.Object)
		if component == nil {
			if component = v.called(w.Name); component != nil {
				mark = "the name that an installation here gives it"
			}
		}
		account := v.byRef[cluster.Ref{Kind: "ServiceAccount", Namespace: v.name, Name: serviceAccount(w.spec)}]
		runs := v.cat.runs(component, w.images)
		published, image := v.publishes(w.images)
		switch {
		case component != nil && runs != "" && v.specific(component, w):
			v.claim(w.Object, component, Evidence{Rule: "workload", Text: text("it runs %s and has %s", runs, mark)})
		case published != nil && !w.foreignMain(v.cat) && v.byName():
			v.claim(w.Object, published, Evidence{Rule: "workload",
				Text: text("it is in namespace %s and runs %s", v.name, image)})
		case v.publishedWhole(w) && (v.byName() || ownName(w.Name)):
			v.claim(w.Object, component, Evidence{Rule: "workload",
				Text: text("all that it runs is published by Cast AI: %s", strings.Join(w.images, ", "))})
		case component != nil && v.cat.unmistakable(w.Name) && v.markedHere(w.Object):
			v.claim(w.Object, component, Evidence{Rule: "workload",
				Text: text("it has %s, and Helm's marks of the release %s of Cast AI's", mark, releaseName(w.Object))})
		case account != nil && (v.owned(account) || v.above.accounts[account.Ref()]) &&
			(v.called(w.Name) != nil || component != nil && slices.Contains(component.Accounts, account.Name)):
			v.claim(w.Object, component, Evidence{Rule: "workload",
				Text: text("it has %s, and runs as the ServiceAccount %s of Cast AI's", mark, account.Name), From: ref(account)})
		}
	}
}

// specific tells whether a workload can't be somebody else's of the same name: it
// has a name that nobody else gives, runs what Cast AI publishes, or what was
// copied with the path of that; or something says that this component lives here.
func (v *spaceView) specific(c *Component, w workload) bool {
	published, _ := v.publishes(w.images)
	return published != nil || v.cat.mirrored(c, w.images) != "" || v.above.lives[v.name][c] ||
		v.chart(w.Object).component != nil ||
		v.cat.unmistakable(w.Name) || v.cat.unmistakable(w.Labels["app.kubernetes.io/name"])
}

// findAliases: a chart of Cast AI's that somebody's own chart gives another name
// puts this name into its label. It is an alias if a workload here with it runs
// only what Cast AI publishes, and every other one runs the own image of a
// component beside others, or has a name that nobody else gives.
func (v *spaceView) findAliases() {
	own, others := map[alias]bool{}, map[alias]bool{}
	for _, w := range v.workloads {
		c := v.label(w.Object)
		if w.owner || c.value == "" || c.component != nil {
			continue
		}
		component, _ := v.cat.publishes(w.images)
		whole := v.publishedWhole(w)
		key := alias{c.chart, releaseName(w.Object)}
		own[key] = own[key] || whole || component != nil && !w.foreignMain(v.cat)
		others[key] = others[key] || !whole && component == nil && v.unmistakably(w.Name, key.release) == nil
	}
	for key, is := range own {
		inherited := v.aliases[key] && !(others[key] && ownName(key.chart))
		v.aliases[key] = inherited || is && !others[key]
	}
}

// foreignMain tells whether the main container of a workload runs something that
// Cast AI does not publish.
func (w workload) foreignMain(cat *Catalogue) bool {
	list, _ := w.spec["containers"].([]any)
	return slices.ContainsFunc(list, func(c any) bool {
		m, _ := c.(map[string]any)
		image, _ := m["image"].(string)
		return !cat.published(image)
	})
}

// markable tells whether a mark on a role or binding can be believed: Cast AI
// lives here, or only the administrators of the cluster write here. Elsewhere
// whoever may bind roles can copy a mark, too.
func (v *spaceView) markable() bool {
	return v.isHome || administered(v.name)
}

// judgeBindings: a RoleBinding all of whose subjects are Cast AI's. In a
// namespace that is not a home it must say itself that it is Cast AI's, by the
// label of a chart or a name of the catalogue, where that can be believed.
func (v *spaceView) judgeBindings() {
	for _, b := range v.bindings {
		known := 0
		for _, a := range b.accounts {
			if v.knownAccount(a) {
				known++
			}
		}
		if v.owned(b.Object) {
			continue
		}
		if v.pairedHere(b) {
			c := v.chart(b.Object)
			v.claim(b.Object, c.component, Evidence{Rule: "installed",
				Text: text("it and its role have the label helm.sh/chart=%s, and its subjects are where Cast AI lives", c.value)})
			continue
		}
		if known == 0 {
			continue
		}
		component := v.madeFor(b.Object)
		doubt := "whoever may bind roles in this namespace can have made it, and no mark of its own says that Cast AI did"
		if component != nil {
			doubt = "whoever may bind roles in this namespace can have made it, with its name and labels"
		}
		switch {
		case known < len(b.accounts)+b.others:
			if v.isHome {
				v.hint(b.Object, Evidence{Rule: "subjects", Text: "some of its subjects are Cast AI's"})
				v.deny(b.Object, Evidence{Rule: "subjects", Text: "it has other subjects, too"})
			}
		case v.isHome || component != nil && v.markable():
			v.claim(b.Object, component, Evidence{Rule: "subjects",
				Text: text("all its subjects are Cast AI's ServiceAccounts, %s/%s", b.accounts[0].Namespace, b.accounts[0].Name)})
		default:
			v.hint(b.Object, Evidence{Rule: "subjects", Text: "all its subjects are Cast AI's ServiceAccounts"})
			v.deny(b.Object, Evidence{Rule: "subjects", Text: doubt})
		}
	}
}

// pairedHere tells whether a RoleBinding and its Role have the label of one chart of
// Cast AI's, where that can be believed, and all subjects are where Cast AI lives:
// an account with a name of the user's choice tells nothing by itself.
func (v *spaceView) pairedHere(b *binding) bool {
	return v.markable() && b.role.Kind == "Role" && v.paired(b, v.byRef[b.role]) &&
		!slices.ContainsFunc(b.accounts, func(a cluster.Ref) bool { return !v.above.isHome(a.Namespace) })
}

// madeFor returns the component that the labels or the name of a role or a
// binding are of.
func (v *spaceView) madeFor(o *cluster.Object) *Component {
	if c, _ := v.marked(o); c != nil {
		return c
	}
	if c := v.cat.runtimeObject(o.Ref()); c != nil {
		return c
	}
	return v.unmistakably(o.Name, releaseName(o))
}

// judgeRoles: a Role to which only bindings of Cast AI's lead, and that says by
// its labels or its name that it was made for them.
func (v *spaceView) judgeRoles() {
	for _, o := range v.byKind["Role."+rbac] {
		bindings := v.boundBy[o.Ref()]
		if v.owned(o) || len(bindings) == 0 {
			continue
		}
		owned := 0
		for _, b := range bindings {
			if v.owned(b.Object) {
				owned++
			}
		}
		component := v.madeFor(o)
		switch {
		case owned == 0:
		case owned < len(bindings):
			v.hint(o, Evidence{Rule: "bound", Text: "a binding of Cast AI's grants it"})
			v.deny(o, Evidence{Rule: "bound", Text: "bindings of others grant it, too"})
		case component != nil && v.markable(), v.isHome && (forAccount(o, bindings) || sameStem(o, bindings)):
			v.claim(o, component, Evidence{Rule: "bound", Text: "only bindings of Cast AI's grant it",
				From: ref(bindings[0].Object)})
		default:
			v.hint(o, Evidence{Rule: "bound", Text: "only bindings of Cast AI's grant it", From: ref(bindings[0].Object)})
			v.deny(o, Evidence{Rule: "bound", Text: "nothing in it says that it was made for them"})
		}
	}
}

// judgeOutside: a Role in a namespace that is not a home, where only administrators
// write, has the label of one of Cast AI's charts and Helm's mark of a release in
// a home.
func (v *spaceView) judgeOutside() {
	for _, o := range v.byKind["Role."+rbac] {
		c := v.chart(o)
		key, marked := releaseOf(o)
		if c.component == nil || v.owned(o) || v.isHome || !v.markable() || !marked || len(v.boundBy[o.Ref()]) > 0 ||
			!v.above.installed()[key] {
			continue
		}
		v.claim(o, c.component, Evidence{Rule: "installed", Text: text("Helm marked it as part of %s, with chart %s", key,
			c.value)})
	}
}

// judgeInstances: a custom resource of an owned CRD goes with it.
func (v *spaceView) judgeInstances() {
	for _, list := range v.byKind {
		crd := v.above.ownsKind(list[0].Resource)
		if crd == nil {
			continue
		}
		for _, o := range list {
			if !v.owned(o) {
				v.own(o, v.cat.group(o.Resource.Group), Evidence{Rule: "instance",
					Text: text("it is an object of the kind %s", o.Resource.Kind), From: ref(crd)})
			}
		}
	}
}

// judgeOwners: all its owners are owned, so Kubernetes collects it with them.
// What somebody else made and merely hung onto an object of Cast AI's is theirs.
func (v *spaceView) judgeOwners() {
	for _, o := range v.objects {
		if len(o.Owners) > 0 && !v.item0(o).Dependent {
			v.judgeOwned(o)
		}
	}
}

// item0 returns the notes on an object without making any.
func (v *spaceView) item0(o *cluster.Object) Item {
	if i := v.items[o]; i != nil {
		return *i
	}
	return Item{}
}

func (v *spaceView) judgeOwned(o *cluster.Object) {
	d, ok := dependentOn(o, func(r metav1.OwnerReference) *Item {
		switch up, owned := v.ownerOf(r); {
		case !owned:
			return nil
		case up.Namespace == "":
			return v.above.items[up]
		default:
			return v.items[up]
		}
	})
	if !ok {
		return
	}
	if !v.owned(o) {
		against, foreign := attached(v.reader, o)
		if !foreign && o.Controller() == nil {
			against, foreign = v.foreignMarks(o)
		}
		if foreign {
			v.hint(o, d.evidence)
			v.deny(o, against)
			return
		}
	}
	d.own(v.notes, v.cat, o, len(v.listed[o.Ref()]) == 0)
}

// judgeUsed: only workloads of Cast AI's use it. That is proof for a
// ServiceAccount of theirs and where nobody else lives, whose use may be hidden in
// a pod or an account; elsewhere, the object must also say itself that it is
// Cast AI's.
func (v *spaceView) judgeUsed() {
	_, others := v.residents()
	alone := v.alone && others == 0
	for r, by := range v.usedBy() {
		o := v.byRef[r]
		if o == nil || v.owned(o) || v.noise(o) || !slices.ContainsFunc(by, v.owned) {
			continue
		}
		if _, shared := v.usedByOthers(o); shared {
			continue // which may be Cast AI's, once that is known
		}
		if against, foreign := v.writtenBy(o, func(m string) bool { return !byHand(m) }); foreign {
			v.hint(o, Evidence{Rule: "used", Text: "workloads of Cast AI's use it"})
			v.deny(o, against)
			continue
		}
		e := Evidence{Rule: "used", Text: text("only %s %s and other workloads of Cast AI's use it", by[0].Resource.Kind,
			by[0].Name), From: ref(by[0])}
		component, _ := v.marked(o)
		if component == nil {
			component = v.runtimeObject(o)
		}
		if alone || component != nil || r.Kind == "ServiceAccount" && (v.above.accounts[r] || v.called(o.Name) != nil) {
			v.claim(o, component, e)
			continue
		}
		v.hint(o, e)
		v.deny(o, Evidence{Rule: "used", Text: "nothing in it says that it is Cast AI's, and others live in its namespace"})
	}
}

// judgeCompanions: what Kubernetes or client libraries make beside an owned
// object, without an owner reference: Endpoints of a Service, the token Secret
// of a ServiceAccount, the Lease of a node or of a leader, the volumes of a
// StatefulSet.
func (v *spaceView) judgeCompanions() {
	for _, kind := range []string{"Endpoints", "EndpointSlice.discovery.k8s.io", "Secret", "Lease.coordination.k8s.io",
		"PersistentVolumeClaim"} {
		for _, o := range v.byKind[kind] {
			if v.owned(o) {
				continue
			}
			if of := v.companionOf(o); of != nil {
				v.claim(o, nil, Evidence{Rule: "companion", Text: text("it belongs to the %s %s", of.Resource.Kind, of.Name),
					From: ref(of)})
			} else if v.released(o) {
				v.claim(o, nil,
					Evidence{Rule: "companion", Text: "nobody holds it any more, and only Cast AI's controllers live here",
						From: v.home.From})
			}
		}
	}
}

// companionOf returns the owned object that another exists for, nil if there is none.
func (v *spaceView) companionOf(o *cluster.Object) *cluster.Object {
	kind, name := "Service", ""
	switch o.Resource.Kind {
	case "Endpoints":
		name = o.Name
	case "EndpointSlice":
		name = o.Labels["kubernetes.io/service-name"]
	case "Secret":
		kind, name = "ServiceAccount", o.Annotations["kubernetes.io/service-account.name"]
	case "Lease":
		if v.name != "kube-node-lease" {
			return v.leader(o)
		}
		if node := v.above.byRef[cluster.Ref{Kind: "Node", Name: o.Name}]; node != nil && v.above.owned(node) {
			return node
		}
		return nil
	case "PersistentVolumeClaim":
		return v.statefulSetOf(o)
	}
	// Kubernetes writes a token into a Secret of that type only, whoever asked for it.
	if o.Resource.Kind != "Endpoints" && len(o.Managers) > 0 &&
		!slices.ContainsFunc(o.Managers, func(m string) bool { return slices.Contains(distributors, m) }) {
		return nil
	}
	if of := v.byRef[cluster.Ref{Kind: kind, Namespace: v.name, Name: name}]; of != nil && v.owned(of) {
		return of
	}
	return nil
}

var (
	// ordinal ends the names of the pods and the volumes of a StatefulSet.
	ordinal = regexp.MustCompile(`-\d+$`)
	// podOf ends the name of a pod of a Deployment or a DaemonSet: the hash of a
	// ReplicaSet, and five random letters (apiserver pkg/storage/names).
	podOf = regexp.MustCompile(`^(-[a-z0-9]{1,10})?-[a-z0-9]{5}$`)
)

// statefulSetOf returns the owned StatefulSet that a volume claim is for: its
// name is TEMPLATE-STATEFULSET-ORDINAL, and TEMPLATE one of its claim templates.
func (v *spaceView) statefulSetOf(claim *cluster.Object) *cluster.Object {
	name := ordinal.ReplaceAllString(claim.Name, "")
	if name == claim.Name {
		return nil
	}
	for _, s := range v.workloads {
		if s.Resource.Kind != "StatefulSet" || !v.owned(s.Object) {
			continue
		}
		for _, template := range nested(s.Object, "spec", "volumeClaimTemplates") {
			if name == str(template, "metadata", "name")+"-"+s.Name {
				return s.Object
			}
		}
	}
	return nil
}

// leader returns the owned workload whose pod holds a Lease: client-go's leader
// election writes the pod's name into holderIdentity, alone or before _UUID.
func (v *spaceView) leader(lease *cluster.Object) *cluster.Object {
	holder, _, _ := strings.Cut(str(lease.Body, "spec", "holderIdentity"), "_")
	var found *cluster.Object
	for _, w := range v.workloads {
		rest, ok := strings.CutPrefix(holder, w.Name)
		if !ok || !podOf.MatchString(rest) && (w.Resource.Kind != "StatefulSet" || !ordinal.MatchString(rest)) {
			continue
		}
		// The longest name wins: castai-agent-cpvpa-x is not a pod of castai-agent.
		if found == nil || len(w.Name) > len(found.Name) {
			found = w.Object
		}
	}
	if found == nil || !v.owned(found) {
		return nil
	}
	return found
}

// released tells whether an object is the Lease of a leader that has ended in good
// order: client-go empties holderIdentity then (ReleaseOnCancel), so that only
// where it is tells whose it was.
func (v *spaceView) released(o *cluster.Object) bool {
	if o.Resource.Kind != "Lease" || !v.isHome || !v.alone || len(o.Labels) > 0 || slices.ContainsFunc(o.Managers, byHand) ||
		str(o.Body, "spec", "holderIdentity") != "" {
		return false
	}
	_, others := v.residents()
	return others == 0
}

// judgeKnown: a kind and name that one component always uses in the namespace
// that it lives in.
func (v *spaceView) judgeKnown() {
	for _, o := range v.objects {
		if v.owned(o) || !tenantCanDelete(o) && !v.ownMarks(o) {
			continue
		}
		component := v.usual(o)
		if component == nil {
			continue
		}
		if against, foreign := v.stranger(o); foreign {
			v.deny(o, against)
			continue
		}
		v.claim(o, component, Evidence{Rule: "known", Text: text("%s; %s makes one of this name there", v.home.Text,
			component.Name), From: v.home.From})
	}
}

// writtenByOwn tells whether only programs of Cast AI's are known to have written an
// object of a component. What a Lease holds nobody misses: anything but a person's tool
// will do.
func (v *spaceView) writtenByOwn(o *cluster.Object, c *Component) bool {
	if o.Resource.Kind == "Lease" {
		return !slices.ContainsFunc(o.Managers, byHand)
	}
	_, others := v.writtenBy(o, func(m string) bool { return m != jobManager || c.Name != hibernation })
	return len(o.Managers) > 0 && !others
}

// usual returns the component that always uses a kind and name: it lives here, or
// nobody else gives the name and Cast AI's programs wrote the object. An account, and
// a Lease, in a namespace that Cast AI has by name, has that of a program.
func (v *spaceView) usual(o *cluster.Object) *Component {
	c := v.runtimeObject(o)
	if c != nil && (v.livesHere(c) || ownName(o.Name) && v.writtenByOwn(o, c)) {
		return c
	}
	account := o.Resource.Group == "" && o.Resource.Kind == "ServiceAccount" && v.byName()
	if program := v.program(o.Name); (account || o.Resource.Kind == "Lease") && v.corroborated(program) {
		return program.component
	}
	return nil
}

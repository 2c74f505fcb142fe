package conformance

import "strings"

// step is one request. In path and body, ${uid NAME} and ${rv NAME} stand for
// what the object of that name had in an earlier answer.
type step struct {
	method, path, body, contentType, accept string
	// served repeats the request until the resource is: a real server needs a
	// moment for a new CustomResourceDefinition.
	served bool
}

func (s step) title() string { return s.method + " " + s.path }

func get(path string) step          { return step{method: "GET", path: path} }
func post(path, body string) step   { return step{method: "POST", path: path, body: body} }
func put(path, body string) step    { return step{method: "PUT", path: path, body: body} }
func remove(path, body string) step { return step{method: "DELETE", path: path, body: body} }
func merge(path, body string) step {
	return step{method: "PATCH", path: path, body: body, contentType: "application/merge-patch+json"}
}
func apply(path, body string) step {
	return step{method: "PATCH", path: path, body: body, contentType: "application/apply-patch+yaml"}
}
func (s step) accepts(accept string) step {
	s.accept = accept
	return s
}

const (
	configMaps = "/api/v1/namespaces/shop/configmaps"
	cm         = configMaps + "/a"
	namespaces = "/api/v1/namespaces"
	widgets    = "/apis/example.com/v1/namespaces/shop/widgets"
	crds       = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	background = `{"propagationPolicy":"Background"`
)

func configMap(meta string) string {
	return `{"apiVersion":"v1","kind":"ConfigMap","metadata":{` + meta + `},"data":{"k":"v"}}`
}

func namespace(name string) string {
	return `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"` + name + `"}}`
}

func finalize(meta string) string {
	return `{"apiVersion":"v1","kind":"Namespace","metadata":{` + meta + `},"spec":{}}`
}

const crd = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.example.com"},
"spec":{"group":"example.com","scope":"Namespaced","names":{"kind":"Widget","plural":"widgets","singular":"widget","listKind":"WidgetList"},
"versions":[{"name":"v1","served":true,"storage":true,"subresources":{"status":{}},
"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}}`

func widget(meta, rest string) string {
	return `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{` + meta + `},` + rest + `}`
}

const twice = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"twice"},"spec":{"replicas":1,
"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[
{"name":"c","image":"i","env":[{"name":"X","value":"1"},{"name":"X","value":"2"}]}]}}}}`

const (
	asMetadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1," +
		"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
	asList     = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
	asProtobuf = "application/vnd.kubernetes.protobuf"
)

var cases = []struct {
	name  string
	steps []step
}{
	{"creation", []step{
		post(namespaces, namespace("shop")),
		post(namespaces, namespace("shop")),
		get(namespaces + "/shop"),
		get(cm),
		post(configMaps, configMap(`"name":"a"`)),
		post(configMaps, configMap(`"name":"a"`)),
		post(configMaps, configMap(`"labels":{"a":"b"}`)),
		post(configMaps, configMap(`"generateName":"gen-"`)),
		post(configMaps, configMap(`"name":"b","namespace":"other"`)),
		post(configMaps, configMap(`"name":"b","resourceVersion":"1"`)),
		post(configMaps, configMap(`"name":"b","uid":"mine","generation":7,"deletionTimestamp":"2020-01-01T00:00:00Z"`)),
		post(configMaps, strings.Replace(configMap(`"name":"c"`), "v1", "v7", 1)),
		post("/api/v1/namespaces/missing/configmaps", configMap(`"name":"a"`)),
		post(configMaps+"?dryRun=All", configMap(`"name":"dry"`)),
		post(configMaps+"?fieldManager=me", configMap(`"name":"managed"`)),
		get(configMaps + "/dry"),
		get("/api/v1/namespaces/shop/nothing"),
		get("/apis/nobody.example.com/v1/things"),
	}},
	{"deletion", []step{
		remove(configMaps+"/nobody", background+"}"),
		post(configMaps, configMap(`"name":"d","finalizers":["example.com/hold"]`)),
		remove(configMaps+"/d", background+`,"preconditions":{"uid":"other"}}`),
		remove(configMaps+"/d", background+`,"preconditions":{"uid":"${uid d}","resourceVersion":"1"}}`),
		remove(configMaps+"/d", background+`,"dryRun":["All"],"preconditions":{"uid":"${uid d}"}}`),
		get(configMaps + "/d"),
		remove(configMaps+"/d?dryRun=All", ""),
		remove(configMaps+"/d", background+`,"preconditions":{"uid":"${uid d}","resourceVersion":"${rv d}"}}`),
		remove(configMaps+"/d", background+`}`),
		post(configMaps, configMap(`"name":"d"`)),
		merge(configMaps+"/d", `{"metadata":{"finalizers":["example.com/hold","example.com/more"]}}`),
		merge(configMaps+"/d", `{"metadata":{"deletionTimestamp":null}}`),
		merge(configMaps+"/d?dryRun=All", `{"metadata":{"finalizers":[]}}`),
		merge(configMaps+"/d", `{"metadata":{"finalizers":[]}}`),
		get(configMaps + "/d"),
		remove(cm, `{"propagationPolicy":"Foreground","dryRun":["All"]}`),
		remove(cm, `{"propagationPolicy":"Foreground"}`),
		merge(cm, `{"metadata":{"finalizers":null}}`),
		get(cm),
		post(configMaps, configMap(`"name":"o"`)),
		remove(configMaps+"/o", `{"propagationPolicy":"Orphan"}`),
		remove(configMaps+"/o", background+"}"),
		get(configMaps + "/o"),
	}},
	{"updates", []step{
		post(configMaps, configMap(`"name":"u"`)),
		merge(configMaps+"/u", `{"data":{"k":"v"}}`),
		merge(configMaps+"/u", `{"data":{"k":"w"}}`),
		merge(configMaps+"/u?fieldManager=me", `{"data":{"l":"w"}}`),
		merge(configMaps+"/u", `{"metadata":{"uid":"other"},"data":{"k":"x"}}`),
		merge(configMaps+"/u", `{"metadata":{"resourceVersion":"1"},"data":{"k":"x"}}`),
		merge(configMaps+"/u", `{"metadata":{"uid":"${uid u}","resourceVersion":"${rv u}"},"data":{"k":"x"}}`),
		merge(configMaps+"/u", `{"metadata":{"name":"v"}}`),
		merge(configMaps+"/u?dryRun=All", `{"data":{"k":"dry"}}`),
		merge(configMaps+"/nobody", `{"data":{"k":"x"}}`),
		merge(configMaps+"/u", `{`),
		put(configMaps+"/u", configMap(`"name":"u","resourceVersion":"1"`)),
		put(configMaps+"/u", configMap(`"name":"u","uid":"other"`)),
		put(configMaps+"/u", configMap(`"name":"u"`)),
		put(configMaps+"/u", configMap(`"name":"u","uid":"${uid u}","resourceVersion":"${rv u}","labels":{"a":"b"}`)),
		put(configMaps+"/nobody", configMap(`"name":"nobody"`)),
		{method: "PATCH", path: configMaps + "/u", contentType: "application/json-patch+json",
			body: `[{"op":"add","path":"/data/n","value":"1"}]`},
		{method: "PATCH", path: configMaps + "/u", contentType: "text/plain", body: `{}`},
		get(configMaps + "/u"),
	}},
	{"server-side apply", []step{
		apply(configMaps+"/s", configMap(`"name":"s"`)),
		apply(configMaps+"/s?fieldManager=one", configMap(`"name":"s"`)),
		apply(configMaps+"/s?fieldManager=one", configMap(`"name":"s"`)),
		apply(configMaps+"/s?fieldManager=two", strings.Replace(configMap(`"name":"s"`), `"v"`, `"w"`, 1)),
		apply(configMaps+"/s?fieldManager=two&force=true", strings.Replace(configMap(`"name":"s"`), `"v"`, `"w"`, 1)),
		apply(configMaps+"/s?fieldManager=one&dryRun=All&force=true", configMap(`"name":"s"`)),
		apply(configMaps+"/new?fieldManager=one&dryRun=All", configMap(`"name":"new"`)),
		get(configMaps + "/new"),
		apply(configMaps+"/new?fieldManager=one", configMap(`"name":"new","uid":"other"`)),
		apply("/apis/apps/v1/namespaces/shop/deployments/twice?fieldManager=one", twice),
		post("/apis/apps/v1/namespaces/shop/deployments?fieldManager=one", twice),
		merge("/apis/apps/v1/namespaces/shop/deployments/twice", `{"spec":{"replicas":0}}`),
		merge("/apis/apps/v1/namespaces/shop/deployments/twice", `{"metadata":{"labels":{"x":"y"}}}`),
		remove("/apis/apps/v1/namespaces/shop/deployments/twice", ""),
	}},
	{"namespaces", []step{
		remove(namespaces+"/kube-system", ""),
		remove(namespaces+"/default", ""),
		post(namespaces, namespace("home")),
		put(namespaces+"/home/finalize?dryRun=All", finalize(`"name":"home"`)),
		get(namespaces + "/home"),
		merge(namespaces+"/home", `{"spec":{"finalizers":[]},"metadata":{"finalizers":["example.com/mine"]}}`),
		post(namespaces+"/home/configmaps", configMap(`"name":"in","finalizers":["example.com/hold"]`)),
		remove(namespaces+"/home", `{"preconditions":{"uid":"other"}}`),
		remove(namespaces+"/home", `{"dryRun":["All"]}`),
		get(namespaces + "/home"),
		remove(namespaces+"/home", background+"}"),
		remove(namespaces+"/home", background+"}"),
		post(namespaces+"/home/configmaps", configMap(`"name":"late"`)),
		apply(namespaces+"/home/configmaps/late?fieldManager=one", configMap(`"name":"late"`)),
		merge(namespaces+"/home/configmaps/in", `{"data":{"k":"x"}}`),
		put(namespaces+"/home/finalize", finalize(`"name":"home","resourceVersion":"1"`)),
		put(namespaces+"/home/finalize", finalize(`"name":"home","uid":"other"`)),
		put(namespaces+"/home/finalize?dryRun=All", finalize(`"name":"home"`)),
		put(namespaces+"/home/finalize", finalize(`"name":"home","finalizers":["example.com/mine"]`)),
		get(namespaces + "/home"),
		put(namespaces+"/home/finalize", finalize(`"name":"home","resourceVersion":"${rv home}"`)),
		get(namespaces + "/home"),
		get(namespaces + "/home/configmaps/in"),
		merge(namespaces+"/home/configmaps/in", `{"metadata":{"finalizers":[]}}`),
		remove(namespaces+"/home/configmaps/in", background+"}"),
		post(namespaces, namespace("home")),
		merge(namespaces+"/home/configmaps/in", `{"metadata":{"finalizers":[]}}`),
		get(namespaces + "/home/configmaps"),
	}},
	{"custom resources", []step{
		post(crds, crd),
		{method: "GET", path: widgets + "?limit=1", served: true},
		post(widgets, widget(`"name":"w"`, `"spec":{"size":1},"status":{"size":1}`)),
		merge(widgets+"/w", `{"spec":{"size":2},"status":{"size":2}}`),
		merge(widgets+"/w", `{"metadata":{"labels":{"a":"b"}}}`),
		merge(widgets+"/w/status", `{"spec":{"size":3},"status":{"size":3}}`),
		put(widgets+"/w", widget(`"name":"w"`, `"spec":{"size":4}`)),
		get(widgets + "/w").accepts(asMetadata),
		get(widgets + "/w").accepts(asProtobuf),
		merge(widgets+"/w", `{"metadata":{"finalizers":["example.com/hold"]}}`),
		remove(crds+"/widgets.example.com", background+`,"preconditions":{"uid":"other"}}`),
	}},
	{"pages and selectors", []step{
		post(namespaces, namespace("pages")),
		post(namespaces+"/pages/configmaps", configMap(`"name":"p1","labels":{"a":"b"}`)),
		post(namespaces+"/pages/configmaps", configMap(`"name":"p2"`)),
		post(namespaces+"/pages/configmaps", configMap(`"name":"p3","labels":{"a":"c"}`)),
		get(namespaces + "/pages/configmaps"),
		get(namespaces + "/pages/configmaps?limit=2"),
		remove(namespaces+"/pages/configmaps/p3", ""),
		get(namespaces + "/pages/configmaps?limit=2&continue=${continue}"),
		get(namespaces + "/pages/configmaps?limit=2"),
		get(namespaces + "/pages/configmaps?labelSelector=a"),
		get(namespaces + "/pages/configmaps?labelSelector=a%3Db"),
		get(namespaces + "/pages/configmaps?fieldSelector=metadata.name%3Dp2"),
		get(namespaces + "/pages/configmaps?fieldSelector=data.k%3Dv"),
		get(namespaces + "/pages/configmaps").accepts(asList),
		get(namespaces + "/pages/configmaps").accepts(asProtobuf),
		get(namespaces + "/pages/configmaps/p1").accepts(asMetadata),
		get(namespaces + "/pages/configmaps/p1").accepts("application/nonsense"),
		get(namespaces + "/nothing/configmaps"),
	}},
	{"watches", []step{
		post(namespaces, namespace("watched")),
		post(namespaces+"/watched/configmaps", configMap(`"name":"w1"`)),
		get(namespaces + "/watched/configmaps"),
		post(namespaces+"/watched/configmaps", configMap(`"name":"w2","labels":{"a":"b"}`)),
		merge(namespaces+"/watched/configmaps/w2", `{"metadata":{"labels":{"a":"c"}}}`),
		remove(namespaces+"/watched/configmaps/w1", ""),
		get(namespaces + "/watched/configmaps?watch=true&timeoutSeconds=1&resourceVersion=${rv list}"),
		get(namespaces + "/watched/configmaps?watch=true&timeoutSeconds=1&resourceVersion=${rv list}&labelSelector=a%3Db"),
		get(namespaces +
			"/watched/configmaps?watch=true&timeoutSeconds=1&resourceVersion=${rv list}&fieldSelector=metadata.name%3Dw1"),
		get(namespaces + "/watched/configmaps?watch=true&timeoutSeconds=1"),
		get(namespaces + "/watched/configmaps?watch=true&timeoutSeconds=1&resourceVersion=1"),
		get(namespaces +
			"/watched/configmaps?watch=true&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"),
		get(namespaces + "/watched/configmaps?watch=true&timeoutSeconds=1").accepts(asMetadata),
	}},
}

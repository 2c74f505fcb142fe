package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// describe returns what an answer says, without what differs from server to
// server: UIDs, versions and times get the names of their objects.
func (p *player) describe(resp *http.Response, body []byte) string {
	mediaType, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ",")
	head := fmt.Sprintf("%d", resp.StatusCode)
	switch {
	case strings.HasPrefix(mediaType, "application/vnd.kubernetes.protobuf"):
		return head + " " + mediaType + " " + protobufKind(body)
	case !strings.HasPrefix(mediaType, "application/json"):
		return head + " " + strings.TrimSpace(string(body))
	}
	var out []string
	decoder := json.NewDecoder(bytes.NewReader(body))
	for decoder.More() {
		var document map[string]any
		if err := decoder.Decode(&document); err != nil {
			p.t.Fatalf("%v in %s", err, body)
		}
		if kind, ok := document["type"].(string); ok && document["object"] != nil {
			out = append(out, kind+" "+p.document(document["object"].(map[string]any)))
			continue
		}
		out = append(out, p.document(document))
	}
	return head + " " + strings.Join(out, "; ")
}

// protobufKind returns the type that is named in the envelope of an answer.
func protobufKind(body []byte) string {
	if !bytes.HasPrefix(body, []byte("k8s\x00")) {
		return fmt.Sprintf("a stream: %t", len(body) > 0)
	}
	for _, kind := range []string{"PartialObjectMetadataList", "PartialObjectMetadata", "ConfigMapList", "ConfigMap",
		"Status"} {
		if bytes.Contains(body[:min(len(body), 80)], []byte(kind)) {
			return kind
		}
	}
	return "of some kind"
}

func (p *player) document(document map[string]any) string {
	u := &unstructured.Unstructured{Object: document}
	switch {
	case u.GetKind() == "Status":
		return p.status(u)
	case u.IsList():
		return p.list(u)
	}
	return p.object(u)
}

func (p *player) status(u *unstructured.Unstructured) string {
	message, _, _ := strings.Cut(field(u, "message"), ": no kind ") // what follows is about Go types
	out := []string{
		"Status", field(u, "status"), field(u, "reason"), field(u, "details", "kind"), field(u, "details", "name"), message,
	}
	if causes := field(u, "details", "causes"); strings.Contains(causes, "NamespaceTerminating") {
		out = append(out, "NamespaceTerminating")
	}
	return p.anonymous(strings.Join(strings.Fields(strings.Join(out, " ")), " "))
}

func (p *player) list(u *unstructured.Unstructured) string {
	var names []string
	items, _, _ := unstructured.NestedSlice(u.Object, "items")
	for _, item := range items {
		names = append(names, p.object(&unstructured.Unstructured{Object: item.(map[string]any)}))
	}
	if rv := field(u, "metadata", "resourceVersion"); rv != "" {
		p.known["rv list"] = rv
	}
	token := field(u, "metadata", "continue")
	if token != "" {
		p.known["continue"] = token
	}
	return fmt.Sprintf("%s %s continue=%t remaining=%s [%s]", u.GetAPIVersion(), u.GetKind(), token != "",
		field(u, "metadata", "remainingItemCount"), strings.Join(names, "; "))
}

// object returns what the stand-in answers for of an object, and remembers its
// UID and version.
func (p *player) object(u *unstructured.Unstructured) string {
	name := u.GetName()
	if generated := u.GetGenerateName(); generated != "" && strings.HasPrefix(name, generated) &&
		len(name) == len(generated)+5 {
		name = generated + "*"
	}
	changed := p.known["rv "+name] != u.GetResourceVersion()
	if u.GetUID() != "" {
		p.known["uid "+name], p.known["rv "+name] = string(u.GetUID()), u.GetResourceVersion()
	}
	out := []string{u.GetAPIVersion(), u.GetKind(), u.GetNamespace(), name, fmt.Sprintf("new-version=%t", changed)}
	add := func(what string, value any) {
		if text := fmt.Sprint(value); text != "" && text != "[]" && text != "map[]" && text != "0" {
			out = append(out, what+"="+text)
		}
	}
	add("generation", u.GetGeneration())
	add("labels", u.GetLabels())
	add("annotations", u.GetAnnotations())
	add("finalizers", u.GetFinalizers())
	if u.GetDeletionTimestamp() != nil {
		out = append(out, "deleting")
	}
	if grace := u.GetDeletionGracePeriodSeconds(); grace != nil {
		out = append(out, fmt.Sprintf("grace=%d", *grace))
	}
	for _, path := range [][]string{{"data"}, {"spec", "finalizers"}, {"spec", "replicas"}, {"spec", "size"},
		{"status", "phase"}, {"status", "size"}} {
		add(strings.Join(path, "."), field(u, path...))
	}
	var managers []string
	for _, m := range u.GetManagedFields() {
		managers = append(managers, strings.Trim(fmt.Sprintf("%s/%s/%s", m.Manager, m.Operation, m.Subresource), "/"))
	}
	slices.Sort(managers)
	add("managers", managers)
	return strings.Join(out, " ")
}

// anonymous replaces UIDs and versions by the names of their objects.
func (p *player) anonymous(text string) string {
	for k, v := range p.known {
		switch {
		case strings.HasPrefix(k, "uid "):
			text = strings.ReplaceAll(text, v, "<"+k+">")
		case strings.HasPrefix(k, "rv "):
			text = strings.ReplaceAll(text, "("+v+")", "(<"+k+">)")
		}
	}
	return text
}

func field(u *unstructured.Unstructured, path ...string) string {
	value, found, err := unstructured.NestedFieldNoCopy(u.Object, path...)
	if !found || err != nil {
		return ""
	}
	return fmt.Sprint(value)
}

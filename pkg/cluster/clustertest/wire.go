package clustertest

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"net/http/httptest"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
)

// format is how an answer is written.
type format struct {
	protobuf bool
	metadata bool // of the objects, only metadata
}

const acceptable = "application/json, application/yaml, application/vnd.kubernetes.protobuf"

var (
	binary    = protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)
	binaryRaw = protobuf.NewRawSerializer(scheme.Scheme, scheme.Scheme)
)

// negotiate chooses the first format of an Accept header that the server has
// for a kind (k8s.io/apiserver v0.36.3 pkg/endpoints/handlers/negotiation). No
// header means JSON. Tables are for people, and not here.
func (s *Server) negotiate(accept string, k *kind) (format, bool) {
	if accept == "" {
		return format{}, true
	}
	for clause := range strings.SplitSeq(accept, ",") {
		mediaType, params, err := mime.ParseMediaType(strings.TrimSpace(clause))
		if err != nil {
			continue
		}
		f := format{protobuf: mediaType == runtime.ContentTypeProtobuf}
		switch as := params["as"]; {
		case as == "":
		case strings.HasPrefix(as, "PartialObjectMetadata") && params["g"] == metav1.GroupName && params["v"] == "v1":
			f.metadata = true
		default:
			continue
		}
		switch mediaType {
		case runtime.ContentTypeProtobuf:
			if s.NoProtobuf || !k.typed() && !f.metadata {
				continue
			}
		case runtime.ContentTypeJSON, "application/*", "*/*":
		default:
			continue
		}
		return f, true
	}
	return format{}, false
}

func (f format) contentType() string {
	if f.protobuf {
		return runtime.ContentTypeProtobuf
	}
	return runtime.ContentTypeJSON
}

// encode returns an object in the format. In metadata, it is one of
// PartialObjectMetadata.
func (f format) encode(u *unstructured.Unstructured) ([]byte, error) {
	if !f.metadata && !f.protobuf {
		return u.MarshalJSON()
	}
	o, err := f.object(u)
	if err != nil {
		return nil, err
	}
	return f.marshal(o)
}

func (f format) marshal(o runtime.Object) ([]byte, error) {
	if f.protobuf {
		return runtime.Encode(binary, o)
	}
	return runtime.Encode(unstructured.UnstructuredJSONScheme, o)
}

// object returns an object as the Go type that the format wants.
func (f format) object(u *unstructured.Unstructured) (runtime.Object, error) {
	if f.metadata {
		o := &metav1.PartialObjectMetadata{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(
			map[string]any{"metadata": u.Object["metadata"]},
			o,
		); err != nil {
			return nil, err
		}
		o.SetGroupVersionKind(
			schema.GroupVersionKind{Group: metav1.GroupName, Version: "v1", Kind: "PartialObjectMetadata"},
		)
		return o, nil
	}
	o, err := scheme.Scheme.New(u.GroupVersionKind())
	if err != nil {
		return nil, err
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, o); err != nil {
		return nil, err
	}
	o.GetObjectKind().SetGroupVersionKind(u.GroupVersionKind())
	return o, nil
}

// send answers with an object.
func (s *Server) send(w http.ResponseWriter, code int, f format, u *unstructured.Unstructured) {
	body, err := f.encode(u)
	if err != nil {
		s.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", f.contentType())
	w.WriteHeader(code)
	_, _ = w.Write(body) //nolint:gosec // what a test put in, for that test; a client may be gone
}

// inProtobuf encodes a Status as the client wants it.
func inProtobuf(answer *httptest.ResponseRecorder, req *http.Request) {
	if !strings.HasPrefix(req.Header.Get("Accept"), runtime.ContentTypeProtobuf) {
		return
	}
	var status metav1.Status
	if json.Unmarshal(answer.Body.Bytes(), &status) != nil {
		return // it is text
	}
	if body, err := runtime.Encode(binary, &status); err == nil {
		answer.Header().Set("Content-Type", runtime.ContentTypeProtobuf)
		answer.Body = bytes.NewBuffer(body)
	}
}

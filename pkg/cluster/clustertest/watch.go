package clustertest

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/watch"
)

// stream is a watch that is open.
type stream struct {
	server  *Server
	w       http.ResponseWriter
	r       *Request
	f       format
	matches func(*unstructured.Unstructured) bool
	seen    int64 // up to which version it has been told
	marks   int
	queue   []event // to be sent
	over    bool    // nothing follows the queue
}

type event struct {
	kind watch.EventType
	of   runtime.Object
}

// watch opens the stream of a watch, or answers with an error.
func (s *Server) watch(w http.ResponseWriter, r *Request, f format) *stream {
	matches, err := r.selector()
	if err != nil {
		s.fail(w, err)
		return nil
	}
	stream := &stream{server: s, r: r, f: f, matches: matches}
	stream.begin()
	return stream
}

// run sends the changes of a resource until the client goes, its timeoutSeconds
// are over or the server ends.
func (w *stream) run(to http.ResponseWriter, req *http.Request) {
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	if n, err := strconv.Atoi(w.r.Query.Get("timeoutSeconds")); err == nil && n > 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(n)*time.Second)
		defer cancel()
	}
	w.w = to
	to.Header().Set("Content-Type", w.f.contentType())
	if w.f.protobuf {
		to.Header().Set("Content-Type", runtime.ContentTypeProtobuf+";stream=watch")
	}
	to.WriteHeader(http.StatusOK)
	for {
		changed := w.look()
		for _, e := range w.queue {
			w.send(e)
		}
		w.queue = nil
		w.flush()
		if w.over || w.r.ends {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		case <-w.server.closed:
			return
		}
	}
}

// begin queues what a watch starts with: nothing, if it goes on from a version
// that is still known; otherwise all there is. The caller holds the lock.
func (w *stream) begin() {
	w.marks = w.server.marks
	from, err := strconv.ParseInt(w.r.Query.Get("resourceVersion"), 10, 64)
	initial := w.r.Query.Get("sendInitialEvents") == "true"
	if err == nil && from > 0 && !initial {
		if w.seen = from; from < w.server.oldest {
			gone := statusOf(apierrors.NewResourceExpired("too old resource version: " + strconv.FormatInt(from, 10)))
			w.queue, w.over = append(w.queue, event{watch.Error, &gone}), true
		}
		return
	}
	w.seen = w.server.version
	for _, u := range w.server.all(w.r.kind.GroupKind()) {
		if w.matches(u) {
			w.object(watch.Added, u)
		}
	}
	if initial {
		w.bookmark(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	}
}

// look queues what is new, and returns what tells of the next change.
func (w *stream) look() <-chan struct{} {
	s := w.server
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.history {
		if c.version > w.seen && !w.over {
			w.change(c)
			w.seen = c.version
		}
	}
	if s.marks > w.marks {
		w.marks = s.marks
		w.bookmark(nil)
	}
	return s.changed
}

// change queues one change as those see it who watch a selection: what leaves it
// is deleted, what enters it is added.
func (w *stream) change(c change) {
	if c.now.GroupVersionKind().GroupKind() != w.r.kind.GroupKind() {
		return
	}
	was, is := c.old != nil && w.matches(c.old), w.matches(c.now)
	switch {
	case c.kind == watch.Deleted && was:
		w.object(watch.Deleted, c.now)
	case was && !is:
		left := c.old.DeepCopy() // as it was, but when it left
		left.SetResourceVersion(c.now.GetResourceVersion())
		w.object(watch.Deleted, left)
	case is && was:
		w.object(watch.Modified, c.now)
	case is && c.kind != watch.Deleted:
		w.object(watch.Added, c.now)
	}
}

// object queues an event about an object.
func (w *stream) object(kind watch.EventType, u *unstructured.Unstructured) {
	u = w.r.asRequested(u)
	if !w.f.protobuf && !w.f.metadata {
		w.queue = append(w.queue, event{kind, u})
		return
	}
	o, err := w.f.object(u)
	if err != nil {
		w.server.t.Error(err)
		return
	}
	w.queue = append(w.queue, event{kind, o})
}

// bookmark queues up to where a client that allows it has seen everything.
func (w *stream) bookmark(annotations map[string]string) {
	if w.r.Query.Get("allowWatchBookmarks") != "true" {
		return
	}
	u := w.r.empty()
	u.SetResourceVersion(strconv.FormatInt(w.seen, 10))
	u.SetAnnotations(annotations)
	w.object(watch.Bookmark, u)
}

// send writes one event. A client that has gone is noticed elsewhere.
func (w *stream) send(e event) {
	if !w.f.protobuf {
		line, err := json.Marshal(map[string]any{"type": e.kind, "object": e.of})
		if err != nil {
			w.server.t.Error(err)
		}
		_, _ = w.w.Write(append(line, '\n'))
		return
	}
	raw, err := runtime.Encode(binary, e.of)
	if err != nil {
		w.server.t.Error(err)
	}
	frame, err := runtime.Encode(
		binaryRaw,
		&metav1.WatchEvent{Type: string(e.kind), Object: runtime.RawExtension{Raw: raw}},
	)
	if err != nil {
		w.server.t.Error(err)
	}
	_, _ = protobuf.LengthDelimitedFramer.NewFrameWriter(w.w).Write(frame)
}

func (w *stream) flush() {
	if f, ok := w.w.(http.Flusher); ok {
		f.Flush()
	}
}

package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
)

// How long a request is tried. Every request of a client goes by these.
const (
	// tryTimeout bounds one try, and the life of one watch. The user's
	// --request-timeout replaces it.
	tryTimeout = 30 * time.Second
	// outage is how long a server that has answered is waited for: restarting
	// the only API server of a cluster takes less.
	outage = time.Minute
	// firstContact is the same for a server that has not answered yet, or no
	// longer: most likely its address is wrong.
	firstContact = 3 * time.Second
	// worthTelling is when a person begins to wonder.
	worthTelling = 2 * time.Second
	// failures is how many answers of the kind "my fault" a request takes. More
	// would not help: a webhook or an aggregated API that is down is the usual
	// reason, and it stays down.
	failures = 6
	// lastAnswer is how long the answer to a write is waited for after the run
	// has been interrupted.
	lastAnswer = 5 * time.Second
)

// retrier sends requests again while that may help: when the connection broke,
// no answer came in time, or the server said 429, 500, 502, 503 or 504. It
// honours Retry-After and waits longer from try to try, with jitter.
//
// A write whose answer was lost is sent again, too. The server may have carried
// it out: a deletion then finds nothing, a patch changes nothing or is in
// conflict with itself, and a creation finds its own object, for this plugin
// lets the server generate no names. All of these are understood by those who
// asked for the write.
type retrier struct {
	next    http.RoundTripper
	timeout time.Duration // of one try
	// inFlight lets no more tries through at a time than the server takes.
	inFlight *throttle
	// life ends the waiting of requests that have no context of their own, as
	// those of client-go's discovery.
	life context.Context
	// onAway is called once for each time that the server is waited for.
	onAway func(reason string, patience time.Duration)
	// alive: the server has answered, and has not been given up since.
	alive atomic.Bool
	// missed: onAway has been called, and the server has not answered since.
	missed atomic.Bool
}

// once marks the requests of a context as tries, and single those that are sent
// one time, whatever comes of it.
type (
	once   struct{}
	single struct{}
)

// Once returns a context whose requests take the first answer of a server, be it
// an error of its own (5xx): for a write that is sent with dryRun=All to learn
// what the server says to it.
func Once(ctx context.Context) context.Context { return context.WithValue(ctx, once{}, true) }

// TryLater tells whether a request that ended in this error may be answered
// otherwise later, and how long the server asks to be left alone.
func TryLater(err error) (delay time.Duration, again bool) {
	if asked, ok := apierrors.SuggestsClientDelay(err); ok {
		return time.Second * time.Duration(asked), true
	}
	var unanswered *unansweredError
	return 0, errors.As(err, &unanswered) || apierrors.IsTooManyRequests(err) || apierrors.IsInternalError(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err)
}

// newRetrier returns a transport that retries on top of another. A timeout of
// zero is the default; onAway may be nil.
func newRetrier(life context.Context, next http.RoundTripper, timeout time.Duration,
	onAway func(string, time.Duration)) *retrier {
	if timeout == 0 {
		timeout = tryTimeout
	}
	if onAway == nil {
		onAway = func(string, time.Duration) {}
	}
	return &retrier{next: next, timeout: timeout, inFlight: newThrottle(), life: life, onAway: onAway}
}

// RoundTrip sends one request, as often as it takes. The body of an answer has
// been read to its end, except that of a watch.
func (r *retrier) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := readAll(req.Body)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(req.Context())
	stop := context.AfterFunc(r.life, cancel)
	release := func() { stop(); cancel() }
	resp, err := r.persist(ctx, req, body)
	if err == nil {
		if w, ok := resp.Body.(*watchBody); ok {
			w.release = release
			return resp, nil
		}
	}
	release()
	return resp, err
}

// persist sends a request until it is answered, given up, or ctx ends.
func (r *retrier) persist(ctx context.Context, req *http.Request, body []byte) (*http.Response, error) {
	start := time.Now()
	backoff := wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 10, Cap: 2 * time.Second}
	for tries := 1; ; tries++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		queued := time.Now()
		leave, err := r.inFlight.enter(ctx)
		if err != nil {
			return nil, err
		}
		start = start.Add(time.Since(queued)) // its patience is for the server
		resp, err := r.try(ctx, req, body)
		leave(statusOf(resp))
		switch {
		case err == nil:
			r.alive.Store(true)
			r.missed.Store(false)
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		delay := max(backoff.Step(), retryAfter(resp))
		alone := req.Context().Value(single{}) != nil
		firstAnswer := err == nil && resp.StatusCode >= http.StatusInternalServerError && req.Context().Value(once{}) != nil
		if !firstAnswer && !alone && r.again(resp, err, tries, time.Since(start)+delay) {
			if err != nil && r.alive.Load() && time.Since(start) > worthTelling && r.missed.CompareAndSwap(false, true) {
				r.onAway(r.inWords(err), outage)
			}
			if err := sleep(ctx, delay); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			r.alive.Store(alone && r.alive.Load()) // one try tells nothing
			return nil, &unansweredError{reason: r.inWords(err), tries: tries, elapsed: time.Since(start)}
		}
		// With it, client-go would do all of this again, ten times.
		resp.Header.Del("Retry-After")
		return resp, nil
	}
}

// again tells whether to send a request again that ended in an answer or an
// error, after a number of tries. until is how long it will be under way then.
func (r *retrier) again(resp *http.Response, err error, tries int, until time.Duration) bool {
	if err != nil {
		patience := outage
		if !r.alive.Load() {
			patience = firstContact
		}
		var certificate *tls.CertificateVerificationError
		return until <= patience && !errors.As(err, &certificate)
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests:
		return until <= outage
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return until <= outage && tries < failures
	}
	return false
}

// statusOf returns the status of an answer, zero if there is none.
func statusOf(resp *http.Response) int {
	if resp == nil {
		return 0
	}
	return resp.StatusCode
}

// retryAfter returns how long the server asks to be left alone: seconds, as
// Kubernetes sends it (k8s.io/apiserver, pkg/endpoints/handlers/responsewriters).
func retryAfter(resp *http.Response) time.Duration {
	if resp == nil {
		return 0
	}
	seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// try sends a request once. A write that has been sent is waited for, although
// ctx ends, for a moment: the report is to tell what became of it. One that is only
// tried (Once) changes nothing.
func (r *retrier) try(ctx context.Context, req *http.Request, body []byte) (*http.Response, error) {
	read := req.Method == http.MethodGet || ctx.Value(once{}) != nil
	parent := ctx
	if !read {
		parent = context.WithoutCancel(ctx)
	}
	tryCtx, cancel := context.WithTimeout(parent, r.timeout)
	if !read {
		stop := context.AfterFunc(ctx, func() {
			_ = sleep(tryCtx, lastAnswer) // shorter if the answer comes
			cancel()
		})
		defer stop()
	}
	out := req.Clone(tryCtx)
	if req.Body != nil {
		out.Body = io.NopCloser(bytes.NewReader(body))
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	}
	resp, err := r.next.RoundTrip(out)
	if err != nil {
		cancel()
		return nil, err
	}
	if resp.StatusCode == http.StatusOK && req.URL.Query().Get("watch") == "true" {
		resp.Body = &watchBody{ReadCloser: resp.Body, ctx: tryCtx, cancel: cancel}
		return resp, nil
	}
	defer cancel()
	whole, err := newReadBody(resp.Body)
	if err != nil {
		return nil, err
	}
	resp.Body, resp.ContentLength = whole, whole.Size()
	return resp, nil
}

// readBody is the body of an answer that has been read to its end.
type readBody struct {
	bytes.Reader
	buffer *bytes.Buffer // nil once it is closed
}

// buffers of answers are used again: an inventory has hundreds of answers, of up
// to a megabyte.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// newReadBody reads a body to its end, and closes it.
func newReadBody(body io.ReadCloser) (*readBody, error) {
	b := &readBody{buffer: buffers.Get().(*bytes.Buffer)}
	b.buffer.Reset()
	_, err := b.buffer.ReadFrom(body)
	b.Reset(b.buffer.Bytes())
	return b, errors.Join(err, body.Close())
}

// Close gives the buffer back: what was read from it must have been copied.
func (b *readBody) Close() error {
	if b.buffer != nil {
		buffers.Put(b.buffer)
		b.buffer = nil
		b.Reset(nil)
	}
	return nil
}

// readAll reads a body, if there is one, and closes it.
func readAll(body io.ReadCloser) ([]byte, error) {
	if body == nil {
		return nil, nil
	}
	content, err := io.ReadAll(body)
	return content, errors.Join(err, body.Close())
}

// watchBody is the stream of a watch. It ends in the orderly way when the time
// of the watch is over: a dead one looks like one of which nothing changes, so
// none is trusted for longer.
type watchBody struct {
	io.ReadCloser
	ctx             context.Context
	cancel, release func()
}

func (w *watchBody) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if err != nil && errors.Is(w.ctx.Err(), context.DeadlineExceeded) {
		err = io.EOF
	}
	return n, err
}

func (w *watchBody) Close() error {
	w.cancel()
	w.release()
	return w.ReadCloser.Close()
}

// unansweredError says that a request got no answer, however often it was sent.
type unansweredError struct {
	reason  string
	tries   int
	elapsed time.Duration
}

func (e *unansweredError) Error() string {
	if e.tries == 1 {
		return e.reason
	}
	return fmt.Sprintf("%s (%d tries in %s)", e.reason, e.tries, e.elapsed.Round(100*time.Millisecond))
}

// inWords says why there was no answer. The words are not those by which
// client-go knows errors that it would retry itself.
func (r *retrier) inWords(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %s", r.timeout)
	case utilnet.IsConnectionRefused(err):
		return "the connection is refused"
	case utilnet.IsConnectionReset(err), utilnet.IsProbableEOF(err), utilnet.IsHTTP2ConnectionLost(err), errors.Is(err,
		syscall.EPIPE):
		return "the connection breaks off"
	}
	return err.Error()
}

// Package audit keeps a record of what a run asks servers to change: who, when,
// which cluster, and every request that is not a mere look, with its answer. It
// is made where requests are sent, so that nothing is sent without being in it.
package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// FileName is that of the record in the folder of a backup.
const FileName = "audit.jsonl"

// The types of lines.
const (
	TypeRun     = "run"     // the first line: who does what
	TypeRequest = "request" // written before the request is sent
	TypeAnswer  = "answer"  // of the request with that number
	TypeEnd     = "end"     // the last line; without it, the run was killed
)

// Run says whose run it is, and what it was to do.
type Run struct {
	Type    string    `json:"type"`
	Time    time.Time `json:"time"`
	Command string    `json:"command"`
	// Tool is the version of the plugin.
	Tool string `json:"tool"`
	// User is whom the API server takes the user for, or Problem why it did not say.
	User    *cluster.User `json:"user,omitempty"`
	Problem string        `json:"userUnknown,omitempty"`

	Cluster       string    `json:"cluster"`
	Context       string    `json:"context,omitempty"`
	Server        string    `json:"server"`
	KubeSystemUID types.UID `json:"kubeSystemUID"`
	// PlanDigest is that of the plan that was agreed to, if there is one.
	PlanDigest string `json:"planDigest,omitempty"`
}

// Line is one of the lines after the first.
type Line struct {
	Type   string    `json:"type"`
	Time   time.Time `json:"time"`
	Number int       `json:"number,omitempty"`
	Method string    `json:"method,omitempty"`
	URL    string    `json:"url,omitempty"`
	// Body is that of a deletion or a merge patch; of others, and of everything
	// about Secrets, there is the checksum.
	Body       json.RawMessage `json:"body,omitempty"`
	BodySHA256 string          `json:"bodySHA256,omitempty"`
	// Status is that of the answer, and AuditID finds it in the server's own audit
	// log (k8s.io/apiserver pkg/endpoints/filters: the header Audit-Id).
	Status  int     `json:"status,omitempty"`
	AuditID string  `json:"auditID,omitempty"`
	Seconds float64 `json:"seconds,omitempty"`
	// Error says why there was no answer, or why the run ended.
	Error string `json:"error,omitempty"`
}

// Record writes lines into files. The zero Record writes nothing, and lets
// every request through.
type Record struct {
	mu     sync.Mutex
	run    *Run
	files  []*os.File
	number int
	err    error
	failed func(error)
}

// Begin says what the record is of. From then on, no request to change anything
// is sent that is not in each of its files: where one can't be written, failed is
// called, once, and every further request fails.
func (r *Record) Begin(run Run, failed func(error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	run.Type, run.Time = TypeRun, time.Now().UTC()
	r.run, r.failed = &run, failed
}

// Add opens a file, for appending, and writes the first line.
func (r *Record) Add(path string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(write(f, r.run), settle(f)); err != nil {
		return errors.Join(err, f.Close())
	}
	r.files = append(r.files, f)
	return nil
}

// Files are those that the record is written into.
func (r *Record) Files() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, f := range r.files {
		out = append(out, f.Name())
	}
	return out
}

// End writes the last line, with the error that the run ended with, and closes
// the files. It returns the first error there was.
func (r *Record) End(runErr error) error {
	line := Line{Type: TypeEnd}
	if runErr != nil {
		line.Error = runErr.Error()
	}
	err := r.write(line)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.files {
		err = errors.Join(err, settle(f), f.Close())
	}
	r.files, r.run = nil, nil
	return err
}

// Wrap returns a transport that records what goes through another.
func (r *Record) Wrap(next http.RoundTripper) http.RoundTripper { return &transport{r, next} }

// write adds a line to all files. After an error there are no more.
func (r *Record) write(line Line) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	line.Time = time.Now().UTC()
	for _, f := range r.files {
		if err := write(f, line); err != nil {
			r.err = fmt.Errorf("the audit record %s can't be written, so no further write was sent: %w", f.Name(), err)
			r.failed(r.err)
			return r.err
		}
	}
	return nil
}

func write(f *os.File, line any) error {
	raw, err := json.Marshal(line)
	if err != nil {
		return err
	}
	_, err = f.Write(append(raw, '\n'))
	return err
}

// settle puts a file on the disk; what is not on one need not.
func settle(f *os.File) error {
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return err
	}
	return f.Sync()
}

// transport records requests and their answers.
type transport struct {
	record *Record
	next   http.RoundTripper
}

// RoundTrip records a request, sends it, and records the answer.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if !t.record.on() || !changes(req) {
		return t.next.RoundTrip(req)
	}
	line := Line{Type: TypeRequest, Method: req.Method, URL: req.URL.Redacted()}
	req, err := describe(req, &line)
	if err != nil {
		return nil, err
	}
	line.Number = t.record.next()
	if err := t.record.write(line); err != nil {
		return nil, err
	}
	start := time.Now()
	resp, err := t.next.RoundTrip(req)
	answer := Line{Type: TypeAnswer, Number: line.Number, Seconds: time.Since(start).Seconds()}
	if err != nil {
		answer.Error = err.Error()
	} else {
		answer.Status, answer.AuditID = resp.StatusCode, resp.Header.Get("Audit-Id")
	}
	// The answer is the caller's, even where it can't be recorded: that ends the run.
	_ = t.record.write(answer)
	return resp, err
}

func (r *Record) on() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.files) > 0
}

func (r *Record) next() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.number++
	return r.number
}

// changes tells whether a request is more than a look. A review of access is
// posted and changes nothing.
func changes(req *http.Request) bool {
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	return !strings.Contains(req.URL.Path, "/apis/authorization.k8s.io/") &&
		!strings.Contains(req.URL.Path, "/apis/authentication.k8s.io/")
}

// mergePatch is the type of the patches that the record shows (RFC 7386).
const mergePatch = "application/merge-patch+json"

// describe adds the body of a request to its line, and returns the request with
// a body that has not been read.
func describe(req *http.Request, line *Line) (*http.Request, error) {
	if req.Body == nil {
		return req, nil
	}
	body, err := io.ReadAll(req.Body)
	if err = errors.Join(err, req.Body.Close()); err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.Body = io.NopCloser(bytes.NewReader(body))
	plain := req.Method == http.MethodDelete || req.Header.Get("Content-Type") == mergePatch
	if plain && json.Valid(body) && !strings.Contains(req.URL.Path, "/secrets") {
		line.Body = body
	} else if len(body) > 0 {
		sum := sha256.Sum256(body)
		line.BodySHA256 = hex.EncodeToString(sum[:])
	}
	return req, nil
}

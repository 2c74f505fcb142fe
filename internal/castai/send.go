package castai

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// Bounds of a request. Cast AI's Terraform provider gives one 60 s and tries
// again three times, on 429 and 5xx (castai/sdk/client/retry_transport.go).
const (
	defaultTimeout = 30 * time.Second
	defaultBackoff = 500 * time.Millisecond
	attempts       = 4
	longestWait    = time.Minute // that Retry-After is given
	largestAnswer  = 64 << 20
)

// keyHeader is the header of the key (securityScheme ApiKeyAuth).
const keyHeader = "X-Api-Key"

// sender sends requests with the key, to one host only, and reads whole answers.
// It tries again what may be sent again.
type sender struct {
	http    *http.Client
	key     Key
	agent   string
	timeout time.Duration // of one attempt
	backoff time.Duration // before the second attempt
}

// newSender returns a sender for the host of the URL.
func newSender(server *url.URL, o Options) *sender {
	s := &sender{key: o.Key, agent: o.UserAgent, timeout: o.Timeout, backoff: o.Backoff}
	next := o.Transport
	if next == nil {
		next = network()
	}
	s.http = &http.Client{
		Transport: &keyed{key: o.Key, server: server, next: next},
		CheckRedirect: func(req *http.Request, _ []*http.Request) error {
			return fmt.Errorf("it redirects to %s, which the API does not do", req.URL.Host)
		},
	}
	if o.Wrap != nil {
		s.http.Transport = o.Wrap(s.http.Transport)
	}
	return s
}

// network returns what sends requests over the network.
func network() *http.Transport {
	http1 := &http.Protocols{}
	http1.SetHTTP1(true)
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		// GODEBUG=http2debug=2 would print the key.
		Protocols:           http1,
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     90 * time.Second,
		MaxIdleConnsPerHost: 4,
	}
}

// keyed puts the key on requests to its server. The request that callers see,
// and may show, has none.
type keyed struct {
	key    Key
	server *url.URL
	next   http.RoundTripper
}

// RoundTrip sends a copy of the request that has the key.
func (k *keyed) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != k.server.Scheme || req.URL.Host != k.server.Host {
		return nil, fmt.Errorf("%s is not the API: the key is not sent there", req.URL.Host)
	}
	req = req.Clone(req.Context())
	req.Header.Set(keyHeader, k.key.secret)
	return k.next.RoundTrip(req)
}

// Do sends a request, again where that does no harm, and returns an answer that
// is in memory.
func (s *sender) Do(req *http.Request) (*http.Response, error) {
	req.Header.Set("User-Agent", s.agent)
	req.Header.Set("Accept", "application/json")
	backoff := wait.Backoff{Duration: s.backoff, Factor: 2, Jitter: 0.5, Steps: attempts}
	for attempt := 1; ; attempt++ {
		resp, err := s.try(req)
		if cause := context.Cause(req.Context()); cause != nil {
			return nil, cause
		}
		delay := backoff.Step()
		if err == nil {
			after := retryAfter(resp)
			if after > longestWait {
				return resp, nil
			}
			delay = max(delay, after)
		}
		if attempt == attempts || !again(req, resp, err) {
			return resp, err
		}
		if err := sleep(req.Context(), delay); err != nil {
			return nil, err
		}
	}
}

// try sends a request once and reads the answer to its end.
func (s *sender) try(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeoutCause(req.Context(), s.timeout, fmt.Errorf("no answer within %s", s.timeout))
	defer cancel()
	once := req.Clone(ctx)
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		once.Body = body
	}
	resp, err := s.http.Do(once)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		if outer := (&url.Error{}); errors.As(err, &outer) {
			err = fmt.Errorf("%s: %w", req.URL.Host, outer.Err)
		}
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, largestAnswer+1))
	switch {
	case err != nil && context.Cause(ctx) != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, fmt.Errorf("the answer breaks off: %w", err)
	case len(body) > largestAnswer:
		return nil, fmt.Errorf("the answer has more than %d bytes", largestAnswer)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		body = s.key.redact(body)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// again tells whether a request may be sent once more: it has not been taken in,
// or doing it twice is as good as once.
func again(req *http.Request, resp *http.Response, err error) bool {
	idempotent := req.Method == http.MethodGet || req.Method == http.MethodPut || req.Method == http.MethodDelete
	var op *net.OpError
	switch {
	case err != nil:
		return idempotent || errors.As(err, &op) && op.Op == "dial"
	case resp.StatusCode == http.StatusTooManyRequests:
		return true
	case resp.StatusCode >= http.StatusInternalServerError:
		return idempotent
	case req.Method == http.MethodGet && resp.StatusCode < http.StatusMultipleChoices:
		return !readable(resp)
	}
	return false
}

// readable tells whether the answer is JSON, and leaves it as it is.
func readable(resp *http.Response) bool {
	body, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return err == nil && json.Valid(body)
}

// retryAfter reads the header of that name, in seconds or as a date; 0: there is none.
func retryAfter(resp *http.Response) time.Duration {
	text := resp.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	if date, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(date).Round(time.Second))
	}
	return 0
}

// sleep waits, unless ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

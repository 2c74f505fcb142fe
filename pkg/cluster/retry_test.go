package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// script is a server that answers one try after the other; the last answer is
// for all further ones.
type script struct {
	answers []answer
	tries   int
	bodies  []string
	at      []time.Time
}

type answer func(req *http.Request) (*http.Response, error)

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	a := s.answers[min(s.tries, len(s.answers)-1)]
	s.tries++
	s.at = append(s.at, time.Now())
	body, err := readAll(req.Body)
	if err != nil {
		return nil, err
	}
	s.bodies = append(s.bodies, string(body))
	return a(req)
}

func status(code int, header ...string) answer {
	return func(*http.Request) (*http.Response, error) {
		h := http.Header{}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: code, Header: h, Body: io.NopCloser(strings.NewReader("answer"))}, nil
	}
}

func broken(err error) answer {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// silent never answers.
func silent(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// cut breaks off in the middle of the body.
func cut(*http.Request) (*http.Response, error) {
	body := io.MultiReader(strings.NewReader("ans"), failing{io.ErrUnexpectedEOF})
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(body)}, nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// send sends a request to the script through a retrier that has seen the server
// alive before.
func send(ctx context.Context, s *script, method, url string) (*http.Response, string, error) {
	r := newRetrier(ctx, s, 0, nil)
	r.alive.Store(true)
	return sendTo(ctx, r, method, url)
}

func sendTo(ctx context.Context, r http.RoundTripper, method, url string) (*http.Response, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader([]byte("question")))
	if err != nil {
		return nil, "", err
	}
	resp, err := r.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	body, err := readAll(resp.Body)
	return resp, string(body), err
}

const address = "https://cluster.example.com/api/v1/configmaps"

func TestWhatPassesIsTriedAgain(t *testing.T) {
	reset, refused := fmt.Errorf("read: %w", syscall.ECONNRESET), fmt.Errorf("dial: %w", syscall.ECONNREFUSED)
	for name, fault := range map[string]answer{
		"reset": broken(reset), "refused": broken(refused), "end of file": broken(io.EOF),
		"lost":   broken(errors.New("http2: client connection lost")),
		"silent": silent, "cut": cut, "429": status(429, "Retry-After", "1"), "429 without a time": status(429),
		"500": status(500), "502": status(502), "503": status(503, "Retry-After", "1"), "504": status(504),
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete,
			http.MethodPut} {
			t.Run(name+" "+method, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := &script{answers: []answer{fault, status(200)}}
					resp, body, err := send(t.Context(), s, method, address)
					if err != nil || resp.StatusCode != 200 || body != "answer" || s.tries != 2 {
						t.Errorf("%v, %q, %v after %d tries", resp, body, err, s.tries)
					}
					if s.bodies[1] != "question" {
						t.Errorf("the second try sent %q", s.bodies[1])
					}
				})
			})
		}
	}
}

func TestAnswersThatStandAreNotAskedForAgain(t *testing.T) {
	for _, code := range []int{200, 201, 400, 401, 403, 404, 405, 409, 410, 422, 501} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{answers: []answer{status(code)}}
			if resp, _, err := send(t.Context(), s, http.MethodDelete, address); err != nil || resp.StatusCode != code ||
				s.tries != 1 {
				t.Errorf("%d: %v, %v after %d tries", code, resp, err, s.tries)
			}
		})
	}
}

// What a look was made for is sent one time, whatever comes of it.
func TestASingleTry(t *testing.T) {
	for name, fault := range map[string]answer{
		"refused": broken(syscall.ECONNREFUSED), "silent": silent, "429": status(429, "Retry-After",
			"20"), "503": status(503),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: []answer{fault, status(200)}}
				resp, _, err := send(context.WithValue(t.Context(), single{}, true), s, http.MethodDelete, address)
				if s.tries != 1 || err == nil && resp.StatusCode == http.StatusOK {
					t.Errorf("%v, %v after %d tries", resp, err, s.tries)
				}
			})
		})
	}
}

func TestHowLongARequestIsTried(t *testing.T) {
	refused := broken(syscall.ECONNREFUSED)
	for _, test := range []struct {
		name     string
		alive    bool
		answer   answer
		min, max time.Duration
		tries    int // at most
		says     string
	}{
		{"a server that is away", true, refused, 50 * time.Second, outage, 60, "the connection is refused"},
		{"a server that never was there", false, refused, time.Second, firstContact, 10, "the connection is refused"},
		{"a server that is silent", true, silent, tryTimeout, outage + tryTimeout, 2, "no answer within 30s"},
		{"an address that is silent", false, silent, tryTimeout, tryTimeout, 1, "no answer within 30s"},
		{"too many requests", true, status(429, "Retry-After", "1"), 50 * time.Second, outage, 60, ""},
		{"longer than anybody waits", true, status(429, "Retry-After", "3600"), 0, 0, 1, ""},
		{"the server's own fault", true, status(500), time.Second, 4 * time.Second, failures, ""},
		{"unavailable", true, status(503, "Retry-After", "1"), 5 * time.Second, 10 * time.Second, failures, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: []answer{test.answer}}
				told := 0
				r := newRetrier(t.Context(), s, 0, func(string, time.Duration) { told++ })
				r.alive.Store(test.alive)
				began := time.Now()
				resp, _, err := sendTo(t.Context(), r, http.MethodDelete, address)
				if took := time.Since(began); took < test.min || took > test.max || s.tries > test.tries {
					t.Errorf("%d tries in %s", s.tries, took)
				}
				switch {
				case test.says == "" && (err != nil || resp.Header.Get("Retry-After") != ""):
					t.Errorf("the answer is %v, %v", resp, err)
				case test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)):
					t.Errorf("the error is %v", err)
				}
				if told != map[bool]int{true: 1}[test.alive && test.says != ""] {
					t.Errorf("it was told %d times that the server is away", told)
				}
				if r.alive.Load() != (test.says == "") {
					t.Error("it is not noticed whether the server answers")
				}
			})
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []answer{status(429, "Retry-After", "7"), status(200)}}
		if _, _, err := send(t.Context(), s, http.MethodGet, address); err != nil {
			t.Fatal(err)
		}
		if pause := s.at[1].Sub(s.at[0]); pause < 7*time.Second || pause > 8*time.Second {
			t.Errorf("the second try came after %s", pause)
		}
	})
}

func TestAnInterruptEndsTheWaitingAtOnce(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			s := &script{answers: []answer{broken(syscall.ECONNREFUSED)}}
			time.AfterFunc(10*time.Second, cancel)
			began := time.Now()
			_, _, err := send(ctx, s, method, address)
			if took := time.Since(began); took != 10*time.Second || !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v after %s", method, err, took)
			}
		})
	}
}

// client-go's discovery passes no context.
func TestTheEndOfTheClientEndsRequestsWithoutAContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		life, cancel := context.WithCancel(t.Context())
		r := newRetrier(life, &script{answers: []answer{broken(syscall.ECONNREFUSED)}}, 0, nil)
		r.alive.Store(true)
		time.AfterFunc(10*time.Second, cancel)
		began := time.Now()
		_, _, err := sendTo(context.WithoutCancel(t.Context()), r, http.MethodGet, address)
		if took := time.Since(began); took != 10*time.Second || !errors.Is(err, context.Canceled) {
			t.Errorf("%v after %s", err, took)
		}
	})
}

func TestAWriteInFlightIsWaitedFor(t *testing.T) {
	after := func(d time.Duration) answer {
		return func(req *http.Request) (*http.Response, error) {
			if err := sleep(req.Context(), d); err != nil {
				return nil, err
			}
			return status(200)(req)
		}
	}
	for _, test := range []struct {
		method   string
		takes    time.Duration
		answered bool
		ends     time.Duration
	}{
		{http.MethodDelete, 4 * time.Second, true, 4 * time.Second},
		{http.MethodDelete, 20 * time.Second, false, time.Second + lastAnswer},
		{http.MethodGet, 4 * time.Second, false, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			began := time.Now()
			_, _, err := send(ctx, &script{answers: []answer{after(test.takes)}}, test.method, address)
			if took := time.Since(began); (err == nil) != test.answered || took != test.ends {
				t.Errorf("%s that takes %s: %v after %s", test.method, test.takes, err, took)
			}
		})
	}
}

// A dead watch looks like one of which nothing changes.
func TestAWatchEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := func(req *http.Request) (*http.Response, error) {
			pipe, _ := io.Pipe()
			context.AfterFunc(req.Context(), func() { _ = pipe.CloseWithError(req.Context().Err()) })
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: pipe}, nil
		}
		began := time.Now()
		_, body, err := send(t.Context(), &script{answers: []answer{silent, dead}}, http.MethodGet, address+"?watch=true")
		if took := time.Since(began); err != nil || body != "" || took < 2*tryTimeout || took > 2*tryTimeout+time.Second {
			t.Errorf("%q, %v after %s", body, err, took)
		}
	})
}

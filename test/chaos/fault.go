package chaos

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"time"
)

// Fault is what happens to one request.
type Fault string

// The faults.
const (
	None            Fault = ""
	ResetBefore     Fault = "reset-before" // the server never saw the request
	ResetAfter      Fault = "reset-after"  // the server carried it out, the answer is lost
	TooManyRequests Fault = "429"
	InternalError   Fault = "500"
	Unavailable     Fault = "503"
	Cut             Fault = "cut"  // half of the answer's body
	Hang            Fault = "hang" // the server carried it out, no answer ever comes
	Kill            Fault = "kill" // kill -9 of the plugin, once the server carried the request out
)

// Faults are those that a request can meet.
func Faults() []Fault {
	return []Fault{ResetBefore, ResetAfter, TooManyRequests, InternalError, Unavailable, Cut, Hang}
}

// watchFor is how long a watch goes well before its connection breaks.
const watchFor = 300 * time.Millisecond

// inflict answers a request with a fault.
func (p *Proxy) inflict(w http.ResponseWriter, r *http.Request, q Request, fault Fault) {
	switch fault {
	case ResetBefore:
		breakOff(w)
	case TooManyRequests:
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusTooManyRequests, "TooManyRequests")
	case InternalError:
		refuse(w, http.StatusInternalServerError, "InternalError")
	case Unavailable:
		refuse(w, http.StatusServiceUnavailable, "ServiceUnavailable")
	case Hang:
		if q.Class != Watch {
			p.forward.ServeHTTP(httptest.NewRecorder(), r)
		}
		<-r.Context().Done()
		breakOff(w)
	case ResetAfter, Cut:
		if q.Class == Watch {
			ctx, cancel := context.WithTimeout(r.Context(), watchFor)
			defer cancel()
			p.forward.ServeHTTP(w, r.WithContext(ctx))
			breakOff(w)
			return
		}
		answer := httptest.NewRecorder()
		p.forward.ServeHTTP(answer, r)
		if fault == Cut {
			half(w, answer)
		}
		breakOff(w)
	case Kill:
		p.forward.ServeHTTP(httptest.NewRecorder(), r)
		p.kill()
		breakOff(w)
	case None:
		p.forward.ServeHTTP(w, r)
	}
}

// refuse answers with an error of the API server's form.
func refuse(w http.ResponseWriter, code int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = fmt.Fprintf(w,
		`{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"chaos","reason":%q,"code":%d}`, reason, code)
}

// half sends half of an answer that announces all of it.
func half(w http.ResponseWriter, answer *httptest.ResponseRecorder) {
	maps.Copy(w.Header(), answer.Header())
	body := answer.Body.Bytes()
	w.Header().Set("Content-Length", strconv.Itoa(max(len(body), 1)))
	w.WriteHeader(answer.Code)
	_, _ = w.Write(body[:len(body)/2])
	_ = http.NewResponseController(w).Flush()
}

// breakOff ends the connection of a request without an end of the answer: with
// a TCP reset, or, in HTTP/2, a reset of the stream.
func breakOff(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // the way of net/http to say so
	}
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

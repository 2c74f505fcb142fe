package chaos

import (
	"bytes"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"

	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/castai/kubectl-castai/test/driver"
)

// Proxy stands between the plugin and the API server, passes everything on, and
// inflicts one fault on one request.
type Proxy struct {
	server  *httptest.Server
	forward *httputil.ReverseProxy
	trial   Trial
	kill    func()

	mu       sync.Mutex
	requests []Request
	writes   int
	met      *Request // the request that met the fault
}

// NewProxy starts a proxy to the cluster of config, with that user's rights.
func NewProxy(config *rest.Config, trial Trial) (*Proxy, error) {
	target, err := url.Parse(config.Host)
	if err != nil {
		return nil, err
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	p := &Proxy{trial: trial}
	p.forward = &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1, // watches
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { breakOff(w) },
		ErrorLog:      log.New(io.Discard, "", 0),
	}
	p.server = httptest.NewUnstartedServer(p)
	p.server.EnableHTTP2 = trial.HTTP2
	p.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.server.StartTLS()
	return p, nil
}

// Close ends the proxy and all connections.
func (p *Proxy) Close() {
	p.server.CloseClientConnections()
	p.server.Close()
}

// OnKill sets what kills the plugin.
func (p *Proxy) OnKill(kill func()) { p.kill = kill }

// Requests returns what has passed so far.
func (p *Proxy) Requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

// Met returns the request that met the fault, nil if none did.
func (p *Proxy) Met() *Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.met
}

// Kubeconfig writes a kubeconfig that leads to the proxy. It holds no
// credentials: the proxy has them.
func (p *Proxy) Kubeconfig(path string) error {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw})
	server := &clientcmdapi.Cluster{Server: p.server.URL, CertificateAuthorityData: ca}
	return driver.WriteKubeconfig(path, server, &clientcmdapi.AuthInfo{})
}

func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := classify(r)
	if !p.strikes(q) {
		p.forward.ServeHTTP(w, r)
		return
	}
	// All of it must be read, or the server does not notice that the client goes.
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	p.inflict(w, r, q)
}

// strikes records a request and tells whether it meets the fault.
func (p *Proxy) strikes(q Request) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	index := len(p.requests)
	p.requests = append(p.requests, q)
	if p.trial.Fault == Kill {
		index = -1
		if q.writes() {
			index = p.writes
			p.writes++
		}
	}
	hit := index == p.trial.At
	switch {
	case p.trial.Writes:
		hit = q.writes() && !slices.Contains(p.requests[:len(p.requests)-1], q)
	case p.trial.Every != (Request{}):
		hit = q == p.trial.Every
	}
	if p.trial.Fault == None || !hit {
		return false
	}
	p.met = &q
	return true
}

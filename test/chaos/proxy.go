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
// inflicts the faults of a trial on some requests.
type Proxy struct {
	server  *httptest.Server
	forward *httputil.ReverseProxy
	trial   Trial
	kill    func()

	mu       sync.Mutex
	requests []Request
	writes   int
	met      []Hit
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

// OnAnswer sets what is done with each answer of the server before the plugin gets
// it, which waits as long. An error breaks the connection off.
func (p *Proxy) OnAnswer(do func(*http.Response) error) { p.forward.ModifyResponse = do }

// Requests returns what has passed so far.
func (p *Proxy) Requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

// Met returns the requests that met a fault.
func (p *Proxy) Met() []Hit {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.met)
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
	fault := p.strike(q)
	if fault == None {
		p.forward.ServeHTTP(w, r)
		return
	}
	// All of it must be read, or the server does not notice that the client goes.
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	p.inflict(w, r, q, fault)
}

// strike records a request and returns the fault that it meets.
func (p *Proxy) strike(q Request) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	index, first := len(p.requests), !slices.Contains(p.requests, q)
	p.requests = append(p.requests, q)
	write := -1
	if q.writes() {
		write = p.writes
		p.writes++
	}
	hit := Strike{At: index}
	switch t := p.trial; {
	case q == t.Every, t.Writes && first && q.writes():
		hit.Fault = t.Fault
	default:
		// Each fault so far has cost a request that an undisturbed run does not make.
		index -= len(p.met)
		for _, s := range t.Strikes {
			met := slices.ContainsFunc(p.met, func(h Hit) bool { return h.Strike == s })
			if s.Fault == Kill && s.At == write || s.Fault != Kill && s.At == index && !met {
				hit = s
			}
		}
	}
	if hit.Fault != None {
		p.met = append(p.met, Hit{hit, q})
	}
	return hit.Fault
}

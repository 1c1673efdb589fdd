package s3

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// A Proxy stands before a server. It notes what is asked, and may answer
// instead of the server.
type Proxy struct {
	Addr string // host:port
	mu   sync.Mutex
	all  []string
}

// Before starts a proxy. instead, which may be nil, reports whether it has
// answered.
func (s *Server) Before(t testing.TB, instead func(w http.ResponseWriter, r *http.Request) bool) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String()}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.note(r)
		if instead == nil || !instead(w, r) {
			s.Pass(w, r)
		}
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return p
}

// Pass has the server answer a request, which goes on as it is: the name of the
// host is signed.
func (s *Server) Pass(w http.ResponseWriter, r *http.Request) {
	to := &url.URL{Scheme: "http", Host: s.Addr}
	(&httputil.ReverseProxy{ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
	}}).ServeHTTP(w, r)
}

// IsList reports whether a request is for a page of a list.
func IsList(r *http.Request) bool { return r.URL.Query().Get("list-type") == "2" }

func (p *Proxy) note(r *http.Request) {
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/") // behind the bucket
	what := r.Method + " " + key
	if IsList(r) {
		what = "LIST " + r.URL.Query().Get("prefix")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, what)
}

// Asked is what was asked since the last call: methods and names, and LIST with
// a prefix.
func (p *Proxy) Asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.all
	p.all = nil
	return all
}

// Location is a location at the proxy.
func (p *Proxy) Location(path string) string { return location(p.Addr, path) }

const region = "us-east-1"

func location(addr, path string) string {
	return "s3://" + path + "?endpoint=http://" + addr + "&region=" + region + "&style=path"
}

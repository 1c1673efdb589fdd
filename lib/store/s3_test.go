package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pgpipes/lib/store"
	"pgpipes/lib/store/storetest"
	"pgpipes/test/s3"
)

func bucket(t *testing.T, location string) store.Store {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", s3.Access)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3.Secret)
	s, err := store.Open(location)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestS3Conforms(t *testing.T) {
	server := s3.Start(t, "bucket")
	n := 0
	storetest.Run(t, func() store.Store {
		n++
		return bucket(t, server.Location(fmt.Sprintf("bucket/some prefix/%d", n)))
	})
}

// counted is a proxy before a server, which counts requests by method, and
// may answer them itself.
type counted struct {
	*http.Server
	addr    string
	count   map[string]*atomic.Int32
	instead func(w http.ResponseWriter, r *http.Request) bool
}

func before(t *testing.T, server *s3.Server, instead func(w http.ResponseWriter, r *http.Request) bool) *counted {
	t.Helper()
	c := &counted{instead: instead, count: map[string]*atomic.Int32{}}
	for _, method := range []string{"GET", "PUT", "POST", "HEAD", "DELETE"} {
		c.count[method] = &atomic.Int32{}
	}
	proxy := proxyTo(server)
	listener := listen(t)
	c.addr = listener.Addr().String()
	c.Server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.count[r.Method].Add(1)
		if c.instead == nil || !c.instead(w, r) {
			proxy.ServeHTTP(w, r)
		}
	})}
	go c.Serve(listener)
	t.Cleanup(func() { c.Close() })
	return c
}

// proxyTo passes requests on as they are: the name of the host is signed.
func proxyTo(server *s3.Server) *httputil.ReverseProxy {
	to := &url.URL{Scheme: "http", Host: server.Addr}
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
	}}
}

func (c *counted) location(path string) string {
	return "s3://" + path + "?endpoint=http://" + c.addr + "&region=us-east-1&style=path"
}

// What fits into one request is one, and so is reading it.
func TestS3Requests(t *testing.T) {
	server := s3.Start(t, "bucket")
	c := before(t, server, nil)
	s := bucket(t, c.location("bucket/x"))
	if _, err := s.Put(context.Background(), "k", write(strings.Repeat("x", 16<<20))); err != nil {
		t.Fatal(err)
	}
	body, err := s.Get(context.Background(), "k", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, body); n != 16<<20 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	body.Close()
	for method, want := range map[string]int32{"PUT": 1, "GET": 1, "POST": 0, "HEAD": 0, "DELETE": 0} {
		if got := c.count[method].Load(); got != want {
			t.Errorf("%d %s requests, want %d", got, method, want)
		}
	}
}

// An object of many parts overwrites nothing either, and what did not become
// one is forgotten by the server.
func TestS3Parts(t *testing.T) {
	server := s3.Start(t, "bucket")
	s := bucket(t, server.Location("bucket/x"))
	large := bytes.Repeat([]byte("0123456789abcdef"), 3<<20) // 48 MiB
	large = append(large, "and more"...)
	if _, err := s.Put(context.Background(), "k", write(string(large))); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(context.Background(), "k", write(string(large))); err != nil {
		t.Errorf("the same again: %v", err)
	}
	large[40<<20] ^= 1
	if _, err := s.Put(context.Background(), "k", write(string(large))); !errors.Is(err, store.ErrDiffers) {
		t.Errorf("other bytes: %v", err)
	}
	broken := errors.New("broken pipe")
	if _, err := s.Put(context.Background(), "l", func(w io.Writer) error {
		if _, err := w.Write(large); err != nil {
			return err
		}
		return broken
	}); !errors.Is(err, broken) {
		t.Error(err)
	}
	filepath.WalkDir(filepath.Join(server.Dir, "bucket"), func(path string, e os.DirEntry, err error) error {
		if err == nil && strings.Contains(path, "multipart") && !e.IsDir() {
			t.Errorf("left behind: %s", path)
		}
		return nil
	})
}

// A connection that is lost while an object is read is made again, and the
// bytes are the same; an object that has changed meanwhile is an error.
func TestS3ReadingIsTakenUpAgain(t *testing.T) {
	server := s3.Start(t, "bucket")
	contents := strings.Repeat("0123456789abcdef", 1<<18) // 4 MiB
	if _, err := bucket(t, server.Location("bucket/x")).Put(context.Background(), "k", write(contents)); err != nil {
		t.Fatal(err)
	}
	var cuts atomic.Int32
	c := before(t, server, nil)
	c.instead = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != "GET" || cuts.Add(1) > 3 {
			return false
		}
		w = &cutter{ResponseWriter: w, left: 1 << 20}
		defer func() { recover(); panic(http.ErrAbortHandler) }()
		proxyTo(server).ServeHTTP(w, r)
		return true
	}
	for _, offset := range []int64{0, 100} {
		cuts.Store(0)
		body, err := bucket(t, c.location("bucket/x")).Get(context.Background(), "k", offset, -1)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		body.Close()
		if err != nil || string(got) != contents[offset:] || cuts.Load() < 4 {
			t.Errorf("%d bytes from %d, %v, %d cuts", len(got), offset, err, cuts.Load())
		}
	}
}

// A cutter breaks off after so many bytes.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	return c.ResponseWriter.Write(p)
}

// What a server answers wrongly is no answer.
func TestS3HostileServer(t *testing.T) {
	server := s3.Start(t, "bucket")
	if _, err := bucket(t, server.Location("bucket/x")).Put(context.Background(), "k", write("contents")); err != nil {
		t.Fatal(err)
	}
	reply := func(status int, text string, headers ...string) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			for i := 0; i+1 < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(status)
			io.WriteString(w, text)
			return true
		}
	}
	for name, instead := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"forbidden": reply(403, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>"),
		"no bucket": reply(404, "<Error><Code>NoSuchBucket</Code><Message>no</Message></Error>"),
		"not found": reply(404, ""),
		"redirect": func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, r.URL.String(), http.StatusTemporaryRedirect)
			return true
		},
		"garbage":     reply(200, "<html>welcome to our hotel</html>", "Content-Type", "text/html"),
		"unavailable": reply(400, "<Error><Code>RequestTimeTooSkewed</Code><Message>clock</Message></Error>"),
	} {
		t.Run(name, func(t *testing.T) {
			s := bucket(t, before(t, server, instead).location("bucket/x"))
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			_, serr := s.Stat(ctx, "other")
			var lerr error
			for _, lerr = range s.List(ctx, "", "") {
			}
			_, perr := s.Put(ctx, "new", func(w io.Writer) error {
				_, err := w.Write(make([]byte, 40<<20)) // in parts, whose end must be told
				return err
			})
			checks := map[string]error{"List": lerr, "Put": perr}
			if name != "garbage" { // which says nothing about an object but that it is there
				checks["Stat"] = serr
			}
			for what, err := range checks {
				if err == nil || errors.Is(err, store.ErrNotExist) || strings.Contains(err.Error(), s3.Secret) {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

func TestS3SilentServer(t *testing.T) {
	server := s3.Start(t, "bucket")
	s := bucket(t, server.Location("bucket/x"))
	if _, err := s.Put(context.Background(), "k", write("x")); err != nil {
		t.Fatal(err)
	}
	server.Signal(syscall.SIGSTOP)
	defer server.Signal(syscall.SIGCONT)
	late := errors.New("too late")
	for what, ask := range map[string]func(ctx context.Context) error{
		"Stat": func(ctx context.Context) error { _, err := s.Stat(ctx, "k"); return err },
		"Put":  func(ctx context.Context) error { _, err := s.Put(ctx, "l", write("y")); return err },
		"Get":  func(ctx context.Context) error { _, err := s.Get(ctx, "k", 0, -1); return err },
	} {
		ctx, cancel := context.WithTimeoutCause(context.Background(), 300*time.Millisecond, late)
		if err := ask(ctx); !errors.Is(err, late) {
			t.Errorf("%s: %v", what, err)
		}
		cancel()
	}
}

// A bucket that is gone, or is another's, makes nothing absent.
func TestS3VanishedIsNotAbsent(t *testing.T) {
	server := s3.Start(t, "bucket")
	s := bucket(t, server.Location("elsewhere/x"))
	_, gerr := s.Get(context.Background(), "k", 0, -1)
	_, serr := s.Stat(context.Background(), "k")
	rerr := s.Remove(context.Background(), "k")
	var lerr error
	for _, lerr = range s.List(context.Background(), "", "") {
	}
	_, perr := s.Put(context.Background(), "k", write("x"))
	for what, err := range map[string]error{"Get": gerr, "Stat": serr, "Remove": rerr, "List": lerr, "Put": perr} {
		if err == nil || errors.Is(err, store.ErrNotExist) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestS3Locations(t *testing.T) {
	for _, location := range []string{
		"s3://", "s3:///x", "s3://key:secret@bucket/x", "s3://b/x?style=odd", "s3://b/x?endpoint=host", "s3://b/x?sse=rot13",
		"s3://b/x?secret=1", "s3://b/x?region=", "s3://b/x?conditional=maybe", "s3://b/x#y",
	} {
		if _, err := store.Open(location); !errors.Is(err, store.ErrLocation) {
			t.Errorf("%s: %v", location, err)
		}
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// What goes while it is compared was there: nobody is told that it is not.
func TestS3VanishesWhileCompared(t *testing.T) {
	server := s3.Start(t, "bucket")
	c := before(t, server, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == "PUT" { // the name is taken, it says
			w.WriteHeader(http.StatusPreconditionFailed)
		}
		return r.Method == "PUT"
	})
	_, err := bucket(t, c.location("bucket/x")).Put(context.Background(), "k", write("offered"))
	if err == nil || errors.Is(err, store.ErrNotExist) || !strings.Contains(err.Error(), "vanished") {
		t.Errorf("%v", err)
	}
}

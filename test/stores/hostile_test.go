package stores

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pgpipes/test/s3"
)

// A lie is what a server does instead of answering.
type lie func(server *s3.Server, w http.ResponseWriter, r *http.Request) bool

func says(status int, kind, text string) lie {
	return func(_ *s3.Server, w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		io.WriteString(w, text)
		return true
	}
}

// of lets a lie be told of some requests only.
func of(which func(r *http.Request) bool, l lie) lie {
	return func(server *s3.Server, w http.ResponseWriter, r *http.Request) bool {
		return which(r) && l(server, w, r)
	}
}

// to is a lie for a proxy.
func (l lie) to(server *s3.Server) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool { return l(server, w, r) }
}

// silently says nothing.
func silently(_ *s3.Server, _ http.ResponseWriter, r *http.Request) bool {
	io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
	return true
}

// slowly passes an answer on byte by byte, up to a part of it, and then nothing.
func slowly(pause time.Duration, part int) lie {
	return func(server *s3.Server, w http.ResponseWriter, r *http.Request) bool {
		whole := httptest.NewRecorder()
		server.Pass(whole, r)
		for name, values := range whole.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(whole.Code)
		body := whole.Body.Bytes()
		for _, b := range body[:len(body)/part] {
			if _, err := w.Write([]byte{b}); err != nil {
				return true
			}
			http.NewResponseController(w).Flush()
			time.Sleep(pause)
		}
		if part > 1 {
			<-r.Context().Done()
		}
		return true
	}
}

func isIdentity(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/pgpipes") }
func isWAL(r *http.Request) bool      { return strings.Contains(r.URL.Path, "/wal/") }

// Whatever a server says: what was not stored is not acknowledged, what is there
// is not called absent, and nobody waits for longer than he was told to.
func TestHostileServer(t *testing.T) {
	const html = "<html><body>Not here. Have you tried the pool?</body></html>"
	denied := "<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>"
	for name, l := range map[string]lie{
		"silence":                  silently,
		"silence about WAL":        of(isWAL, silently),
		"silence instead of lists": of(s3.IsList, silently),
		"drip":                     of(isWAL, slowly(100*time.Millisecond, 1)),
		"dripping lists":           of(s3.IsList, slowly(100*time.Millisecond, 1)),
		"half":                     of(isWAL, slowly(0, 2)),
		"no page":                  says(404, "text/html", html),
		"no page of the identity":  of(isIdentity, says(404, "text/html", html)),
		"no page of WAL":           of(isWAL, says(404, "text/html", html)),
		"no pages of lists":        of(s3.IsList, says(404, "text/html", html)),
		"any page":                 says(200, "text/html", html),
		"any list":                 of(s3.IsList, says(200, "application/xml", "<ListBucketResult></ListBucketResult>")),
		"no bucket":                says(404, "application/xml", "<Error><Code>NoSuchBucket</Code></Error>"),
		"no rights":                says(403, "application/xml", denied),
		"no rights to list":        of(s3.IsList, says(403, "application/xml", denied)),
		"overloaded":               says(503, "application/xml", "<Error><Code>SlowDown</Code></Error>"),
		"clock":                    says(403, "application/xml", "<Error><Code>RequestTimeTooSkewed</Code></Error>"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := s3.Start(t, "bucket")
			h := newHost(t)
			truth := server.Location("bucket/pg")
			h.must("repo", "init", "-r", truth, "-D", h.data)
			h.write(1, 2)
			h.must("wal-push", "-r", truth, "--ahead", "0", h.wal(1))
			p := server.Before(t, l.to(server))
			repo := p.Location("bucket/pg")
			got := filepath.Join(h.dir, "got")
			var all sync.WaitGroup
			for _, test := range []struct {
				status  int
				command []string
			}{
				{254, []string{"wal-get", "--ahead", "0", "--retry", "0s", "-r", repo, segment(1), got}},
				{111, []string{"wal-push", "--ahead", "0", "-r", repo, h.wal(2)}},
				{111, []string{"wal-push", "--ahead", "0", "-r", repo, h.wal(1)}},
			} {
				all.Go(func() {
					begun := time.Now()
					r := h.run(test.command[0], append([]string{"--timeout", "2s"}, test.command[1:]...)...)
					if took := time.Since(begun); took > 15*time.Second {
						t.Errorf("%s took %s", test.command, took)
					}
					stored, _ := filepath.Glob(filepath.Join(server.Dir, "bucket/pg/wal/*", segment(2)+"*"))
					switch {
					case r.status == 0 && test.command[0] == "wal-push" && len(stored) == 1:
						return // it was none of its business
					case r.status != test.status || !strings.Contains(r.err, "s3://bucket/pg") || strings.Contains(r.err, s3.Secret):
						t.Errorf("%s: %+v", test.command, r)
					}
					t.Logf("%s: %s", test.command[0], r.err)
				})
			}
			all.Wait()
			if _, err := os.Stat(got); err == nil {
				t.Error("something was delivered")
			}
		})
	}
}

// No repository is made at a server that overwrites what is there though it is told
// not to, unless somebody has said that he knows.
func TestCarelessServer(t *testing.T) {
	server, h := s3.Start(t, "bucket"), newHost(t)
	careless := server.Before(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("If-None-Match") == "" || r.Method != "PUT" {
			return false
		}
		w.Header().Set("ETag", `"9"`) // it takes everything
		return true
	})
	h.write(1, 1)
	repo := careless.Location("bucket/pg")
	for _, command := range [][]string{{"repo", "init", "-D", h.data}, {"wal-push", h.wal(1)}} {
		r := h.run(command[0], append(command[1:], "-r", repo)...)
		if r.status != 100 || !strings.Contains(r.err, "overwrites") || !strings.Contains(r.err, "conditional=no") {
			t.Errorf("%s: %+v", command[0], r)
		}
	}
	h.must("wal-push", "-r", repo+"&conditional=no", h.wal(1))
}

package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"pgpipes/lib/store"
	"pgpipes/test/s3"
)

const (
	sessionToken = "a token of nobody's"
	present      = "wal/present" // what is there
	contents     = "0123456789abcdef"
)

// mayTake is how long an operation may, and mayLinger how long it has to notice,
// on a busy machine.
const mayTake, mayLinger = 2 * time.Second, 20 * time.Second

// A trick is what a server does instead of answering; false has the real one
// answer.
type trick func(w http.ResponseWriter, r *http.Request) bool

// answers is a trick that answers everything.
func answers(status int, text string, headers ...string) trick {
	return func(w http.ResponseWriter, r *http.Request) bool {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, text)
		return true
	}
}

func failure(status int, code string) trick {
	return answers(status, "<?xml version=\"1.0\"?><Error><Code>"+code+"</Code><Message>no, no\n\u009b31mno</Message></Error>", "Content-Type", "application/xml")
}

// only plays a trick on some requests.
func only(which func(r *http.Request) bool, t trick) trick {
	return func(w http.ResponseWriter, r *http.Request) bool { return which(r) && t(w, r) }
}

func isObject(r *http.Request) bool { return strings.Contains(r.URL.Path, "/x/") }
func isRead(r *http.Request) bool   { return isObject(r) && r.Method == http.MethodGet }
func isComplete(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
}

// list answers with a list of keys below x/, or of names that begin with a slash.
func list(rest string, keys ...string) trick {
	return only(s3.IsList, func(w http.ResponseWriter, r *http.Request) bool {
		bucket, _, _ := strings.Cut(r.URL.Path[1:], "/")
		fmt.Fprintf(w, "<ListBucketResult><Name>%s</Name>%s", bucket, rest)
		for _, key := range keys {
			name := "x/" + key
			if strings.HasPrefix(key, "/") {
				name = key[1:]
			}
			fmt.Fprintf(w, "<Contents><Key>%s</Key><Size>16</Size><LastModified>2026-11-22T10:15:00.000Z</LastModified></Contents>", name)
		}
		io.WriteString(w, "</ListBucketResult>")
		return true
	})
}

const goesOn = "<IsTruncated>true</IsTruncated><NextContinuationToken>on</NextContinuationToken>"

// withBody has the real server answer, and changes the body on its way.
func withBody(server *s3.Server, which func(r *http.Request) bool, change func(w http.ResponseWriter, body []byte)) trick {
	return only(which, func(w http.ResponseWriter, r *http.Request) bool {
		real := httptest.NewRecorder()
		server.Pass(real, r)
		for name, values := range real.Header() {
			w.Header()[name] = values
		}
		change(&answer{w, real.Code}, real.Body.Bytes())
		return true
	})
}

// An answer has the status of the real one.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) Write(p []byte) (int, error) {
	if a.status != 0 {
		a.WriteHeader(a.status)
		a.status = 0
	}
	n, err := a.ResponseWriter.Write(p)
	http.NewResponseController(a.ResponseWriter).Flush()
	return n, err
}

// drip sends a byte now and then.
func drip(w http.ResponseWriter, body []byte) {
	for i := range body {
		if _, err := w.Write(body[i : i+1]); err != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// tricks are those that must not make anybody believe what is not true.
func tricks(t *testing.T, server *s3.Server) map[string]trick {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("another host was asked: %s %s", r.Method, r.URL)
	}))
	t.Cleanup(elsewhere.Close)
	all := func(*http.Request) bool { return true }
	html := "<html><body>welcome to our hotel</body></html>"
	return map[string]trick{
		"none":              nil,
		"forbidden":         failure(403, "AccessDenied"),
		"only read is":      only(isRead, failure(403, "AccessDenied")),
		"no bucket":         failure(404, "NoSuchBucket"),
		"no key":            failure(404, "NoSuchKey"),
		"objects unknown":   only(isObject, failure(404, "NoSuchKey")),
		"not found":         answers(404, ""),
		"page not found":    answers(404, html, "Content-Type", "text/html"),
		"object not found":  only(isObject, answers(404, html, "Content-Type", "text/html")),
		"hotel":             answers(200, html, "Content-Type", "text/html"),
		"empty":             answers(200, ""),
		"error in 200":      failure(200, "InternalError"),
		"other error, 200":  failure(200, "AccessDenied"),
		"complete in error": only(isComplete, failure(200, "AccessDenied")),
		"clock":             failure(403, "RequestTimeTooSkewed"),
		"500":               failure(500, "InternalError"),
		"503":               failure(503, "SlowDown"),
		"502":               answers(502, html),
		"redirect in a circle": func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, r.URL.String(), http.StatusTemporaryRedirect)
			return true
		},
		"redirect elsewhere": func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
			return true
		},
		"moved": answers(301, "<Error><Code>PermanentRedirect</Code><Endpoint>"+elsewhere.Listener.Addr().String()+"</Endpoint></Error>"),
		"mirror": func(w http.ResponseWriter, r *http.Request) bool {
			var b bytes.Buffer
			r.Header.Write(&b)
			return answers(400, b.String()+s3.Secret)(w, r)
		},
		"silence": func(_ http.ResponseWriter, r *http.Request) bool {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			return true
		},
		"hanging up": func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) },
		"half, then silence": func(w http.ResponseWriter, r *http.Request) bool {
			return withBody(server, all, func(w http.ResponseWriter, body []byte) {
				w.Write(body[:len(body)/2])
				<-r.Context().Done()
			})(w, r)
		},
		"half": withBody(server, all, func(w http.ResponseWriter, body []byte) {
			w.Write(body[:len(body)/2])
			panic(http.ErrAbortHandler)
		}),
		"drip": withBody(server, all, drip),
		"no length": withBody(server, isRead, func(w http.ResponseWriter, body []byte) {
			w.Header().Del("Content-Length")
			w.Write(body)
		}),
		"no length, and half": withBody(server, isRead, func(w http.ResponseWriter, body []byte) {
			w.Header().Del("Content-Length")
			w.Write(body[:len(body)/2])
		}),
		"garbage list":           withBody(server, s3.IsList, func(w http.ResponseWriter, body []byte) { io.WriteString(w, "<ListBucketResult><Na") }),
		"list of another bucket": only(s3.IsList, answers(200, "<ListBucketResult><Name>other</Name></ListBucketResult>")),
		"list again and again":   list(goesOn, present),
		"empty list for ever":    list(goesOn),
		"list without end": only(s3.IsList, func(w http.ResponseWriter, r *http.Request) bool {
			return list(strings.ReplaceAll(goesOn, "on<", rfc3339(time.Now())+"<"))(w, r)
		}),
		"page without end": only(s3.IsList, func(w http.ResponseWriter, r *http.Request) bool {
			io.WriteString(w, "<ListBucketResult>")
			for err := error(nil); err == nil; {
				_, err = w.Write(bytes.Repeat([]byte("<Prefix>x</Prefix>"), 1<<12))
			}
			return true
		}),
		"list of others' keys":  list("", "/wal/other", present),
		"list out of order":     list("", present, "wal/absent"),
		"list with a key twice": list("", present, present),
		"an upload of no name": func(w http.ResponseWriter, r *http.Request) bool {
			return r.URL.Query().Has("uploads") && failure(200, "AccessDenied")(w, r)
		},
	}
}

func rfc3339(t time.Time) string { return t.Format(time.RFC3339Nano) }

// A server may answer what it likes: an operation ends in time, with what is
// true or with an error that says what was asked for, and none of our secrets.
func TestS3HostileServer(t *testing.T) {
	server := s3.Start(t, "bucket")
	t.Setenv("AWS_ACCESS_KEY_ID", s3.Access)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3.Secret)
	keys := filepath.Join(t.TempDir(), "keys")
	text := "[default]\naws_access_key_id = " + s3.Access + "\naws_secret_access_key = " + s3.Secret + "\naws_session_token = " + sessionToken + "\n"
	if err := os.WriteFile(keys, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(location string) store.Store {
		s, err := store.Open(location)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	var all errgroup.Group
	all.SetLimit(16)
	for name, play := range tricks(t, server) {
		bucket := "b-" + strings.Trim(notBucket.ReplaceAllString(name, "-"), "-")
		if err := os.Mkdir(filepath.Join(server.Dir, bucket), 0o755); err != nil {
			t.Fatal(err)
		}
		all.Go(func() error { // most of them wait
			t.Run(name, func(t *testing.T) {
				truth := open(server.Location(bucket + "/x"))
				if _, err := truth.Put(t.Context(), present, write(contents)); err != nil {
					t.Fatal(err)
				}
				location := server.Before(t, play).Location(bucket + "/x")
				if name == "mirror" {
					location += "&credentials=" + keys // that have what the real server would not take
				}
				sizes := []int{10, len(large)}
				if reading.MatchString(name) {
					sizes = sizes[:1]
				}
				askAll(t, open(location), truth, play == nil, sizes)
			})
			return nil
		})
	}
	all.Wait()
}

var (
	notBucket = regexp.MustCompile(`[^a-z0-9]+`)
	// reading are the tricks that have nothing to do with storing.
	reading = regexp.MustCompile(`list|length|page|read`)
	// large goes in two requests.
	large = bytes.Repeat([]byte{'x'}, 17<<20)
)

// askAll does everything with a store that may lie, and compares with the truth.
func askAll(t *testing.T, s, truth store.Store, honest bool, sizes []int) {
	var all sync.WaitGroup
	limit := mayTake
	if honest {
		limit = time.Minute
	}
	ask := func(what string, do func(ctx context.Context) error) {
		all.Go(func() {
			ctx, cancel := context.WithTimeoutCause(context.Background(), limit, errLate)
			defer cancel()
			begun := time.Now()
			err := do(ctx)
			if honest && err != nil {
				t.Errorf("%s: %v", what, err)
			}
			checkRefusal(t, what, err)
			if took := time.Since(begun); took > limit+mayLinger {
				t.Errorf("%s took %s", what, took)
			}
		})
	}
	ask("Stat "+present, func(ctx context.Context) error {
		info, err := s.Stat(ctx, present)
		if err == nil && info.Size != int64(len(contents)) {
			t.Logf("Stat: %v", info) // there, at least
		}
		return err
	})
	for _, length := range []int64{-1, int64(len(contents)), 9} {
		ask(fmt.Sprintf("Get %s %d", present, length), func(ctx context.Context) error {
			body, err := s.Get(ctx, present, 0, length)
			if err != nil {
				return err
			}
			defer body.Close()
			got, err := io.ReadAll(body)
			if want := contents[:min(uint64(length), uint64(len(contents)))]; err == nil && string(got) != want {
				t.Errorf("Get %d: %q", length, got)
			}
			return err
		})
	}
	ask("List wal/", func(ctx context.Context) error {
		var got []string
		for info, err := range s.List(ctx, "wal/", "") {
			if err != nil {
				return err
			}
			got = append(got, info.Key)
		}
		if !slices.Equal(got, []string{present}) {
			t.Errorf("List: %q", got)
		}
		return nil
	})
	for _, size := range sizes {
		key := fmt.Sprintf("base/new-%d", size)
		ask("Put "+key, func(ctx context.Context) error {
			offered, err := s.Put(ctx, key, func(w io.Writer) error { _, err := w.Write(large[:size]); return err })
			if err != nil {
				return err
			}
			if stored, err := store.Sum(context.Background(), truth, key); err != nil || stored != offered {
				t.Errorf("Put of %d bytes: %v, %v", size, stored, err)
			}
			return nil
		})
	}
	all.Wait()
	if got, err := readAll(truth, present); string(got) != contents || err != nil {
		t.Errorf("at last: %q, %v", got, err)
	}
	ask("Remove "+present, func(ctx context.Context) error {
		err := s.Remove(ctx, present)
		if _, serr := truth.Stat(context.Background(), present); err == nil && !errors.Is(serr, store.ErrNotExist) {
			t.Logf("Remove succeeds, and nothing is removed: %v", serr)
		}
		return err
	})
	all.Wait()
}

var signed = regexp.MustCompile(`(?i)signature=[0-9a-f]`)

// checkRefusal looks at an error of something that is there, or can be put there.
func checkRefusal(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil || errors.Is(err, errLate) { // whose name the watchdog tells
		return
	}
	text := err.Error()
	t.Logf("%s: %s", what, text)
	_, key, _ := strings.Cut(what, " ")
	key, _, _ = strings.Cut(key, " ")
	switch {
	case errors.Is(err, store.ErrNotExist):
		t.Errorf("%s: absent: %s", what, text)
	case !strings.Contains(text, key) || !strings.Contains(text, " in s3://b"):
		t.Errorf("%s: it does not say what was asked for: %s", what, text)
	case strings.Contains(text, s3.Secret) || strings.Contains(text, sessionToken) || signed.MatchString(text):
		t.Errorf("%s: a secret in it: %s", what, text)
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) || len(text) > 1000:
		t.Errorf("%s: not a line: %q", what, text)
	}
}

// Nothing goes on in the background when everybody has been told.
func TestS3LeavesNothingRunning(t *testing.T) {
	server := s3.Start(t, "bucket")
	p := server.Before(t, tricks(t, server)["silence"])
	s := bucket(t, p.Location("bucket/x"))
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, errLate)
	defer cancel()
	var all sync.WaitGroup
	for what, do := range map[string]func() error{
		"Stat": func() error { _, err := s.Stat(ctx, "k"); return err },
		"Get":  func() error { _, err := s.Get(ctx, "k", 0, -1); return err },
		"Put": func() error {
			_, err := s.Put(ctx, "k", func(w io.Writer) error { _, err := w.Write(make([]byte, 40<<20)); return err })
			return err
		},
		"List": func() error {
			for _, err := range s.List(ctx, "", "") {
				return err
			}
			return nil
		},
	} {
		all.Go(func() {
			if err := do(); !errors.Is(err, errLate) {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	all.Wait()
	var stacks string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		buffer := make([]byte, 1<<20)
		stacks = string(buffer[:runtime.Stack(buffer, true)])
		if !strings.Contains(stacks, "minio-go") && strings.Count(stacks, "pgpipes/lib/store.") == 0 {
			return
		}
	}
	t.Error(stacks)
}

// What may pass is tried again, and not for ever; what will not is not.
func TestS3RetriesAreBounded(t *testing.T) {
	server := s3.Start(t, "bucket")
	var all sync.WaitGroup
	defer all.Wait()
	for name, want := range map[string]int{"500": 4, "503": 4, "502": 4, "forbidden": 1, "clock": 1} {
		for what, do := range map[string]func(s store.Store) error{
			"Put": func(s store.Store) error { _, err := s.Put(t.Context(), "k", write("x")); return err },
			"Get": func(s store.Store) error { _, err := s.Get(t.Context(), "k", 0, -1); return err },
			"List": func(s store.Store) error {
				for _, err := range s.List(t.Context(), "", "") {
					return err
				}
				return nil
			},
		} {
			p := server.Before(t, tricks(t, server)[name])
			s := bucket(t, p.Location("bucket/x"))
			all.Go(func() {
				err := do(s)
				if asked := p.Asked(); len(asked) != want || err == nil {
					t.Errorf("%s at %s: %q, %v", what, name, asked, err)
				}
				if name == "clock" && !strings.Contains(err.Error(), "RequestTimeTooSkewed") {
					t.Errorf("%s: %v", what, err)
				}
			})
		}
	}
}

// When the answer to the request that makes an object is lost, the object is
// there; the next request is refused, and what is there is looked at.
func TestS3LostAnswer(t *testing.T) {
	server := s3.Start(t, "bucket")
	for name, size := range map[string]int{"whole": 10, "parts": 17 << 20} {
		t.Run(name, func(t *testing.T) {
			var lost sync.Once
			p := server.Before(t, func(w http.ResponseWriter, r *http.Request) bool {
				if !isComplete(r) && (r.Method != http.MethodPut || r.URL.Query().Has("partNumber")) {
					return false
				}
				lost.Do(func() {
					server.Pass(httptest.NewRecorder(), r)
					panic(http.ErrAbortHandler)
				})
				return false
			})
			text := strings.Repeat("x", size)
			s := bucket(t, p.Location("bucket/x"))
			if _, err := s.Put(t.Context(), name, write(text)); err != nil {
				t.Errorf("%v, after %q", err, p.Asked())
			}
			if got, err := readAll(s, name); string(got) != text || err != nil {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

// A server that sends less, or other bytes, than it was asked for is found out as
// soon as it says so.
func TestS3Ranges(t *testing.T) {
	server := s3.Start(t, "bucket")
	if _, err := bucket(t, server.Location("bucket/x")).Put(t.Context(), "k", write(contents)); err != nil {
		t.Fatal(err)
	}
	const day = "Sun, 22 Nov 2026 10:15:00 GMT"
	part := func(contentRange, body string) trick {
		return answers(206, body, "Content-Range", contentRange, "ETag", `"1"`, "Last-Modified", day)
	}
	for name, play := range map[string]trick{
		"shorter":        part("bytes 2-4/16", "234"),
		"longer":         part("bytes 2-12/16", contents[2:13]),
		"from elsewhere": part("bytes 3-10/16", contents[3:11]),
		"says otherwise": part("bytes 2-9/16", "234"),
		"nonsense":       part("bytes */16", contents[2:10]),
		"all":            answers(200, contents, "ETag", `"1"`, "Last-Modified", day),
		"right":          part("bytes 2-9/16", contents[2:10]),
	} {
		s := bucket(t, server.Before(t, only(isRead, play)).Location("bucket/x"))
		body, err := s.Get(t.Context(), "k", 2, 8)
		if (err == nil) != (name == "right") {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			got, err := io.ReadAll(body)
			body.Close()
			if string(got) != contents[2:10] || err != nil {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
	}
}

// A connection that is lost while an object is read is made again, and the
// bytes are the same; an object that has changed meanwhile is an error.
func TestS3ReadingIsTakenUpAgain(t *testing.T) {
	server := s3.Start(t, "bucket")
	text := strings.Repeat(contents, 1<<18) // 4 MiB
	if _, err := bucket(t, server.Location("bucket/x")).Put(t.Context(), "k", write(text)); err != nil {
		t.Fatal(err)
	}
	cut := func(n int, tag string) (trick, *int) {
		cuts := 0
		return withBody(server, isRead, func(w http.ResponseWriter, body []byte) {
			if cuts++; cuts <= n {
				w.Write(body[:min(len(body), 1<<20)])
				panic(http.ErrAbortHandler)
			}
			if tag != "" {
				w.Header().Set("ETag", tag)
			}
			w.Write(body)
		}), &cuts
	}
	for _, offset := range []int64{0, 100} {
		play, cuts := cut(3, "")
		body, err := bucket(t, server.Before(t, play).Location("bucket/x")).Get(t.Context(), "k", offset, -1)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		body.Close()
		if err != nil || string(got) != text[offset:] || *cuts != 4 {
			t.Errorf("%d bytes from %d, %v, %d times asked", len(got), offset, err, *cuts)
		}
	}
	play, _ := cut(1, `"another"`)
	if got, err := readAll(bucket(t, server.Before(t, play).Location("bucket/x")), "k"); err == nil || len(got) > 1<<20 {
		t.Errorf("of another object: %d bytes, %v", len(got), err)
	}
	times := 0
	always := withBody(server, isRead, func(w http.ResponseWriter, body []byte) {
		times++
		w.Write(body[:1])
		panic(http.ErrAbortHandler)
	})
	if got, err := readAll(bucket(t, server.Before(t, always).Location("bucket/x")), "k"); err == nil || times > 10 {
		t.Errorf("always cut: %d bytes, %v, %d times asked", len(got), err, times)
	}
}

// A host whose certificate nobody has signed is not talked to.
func TestS3WrongCertificate(t *testing.T) {
	asked := false
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	s := bucket(t, "s3://bucket/x?endpoint="+server.URL+"&region=us-east-1&style=path")
	_, err := s.Stat(t.Context(), "k")
	if err == nil || !strings.Contains(err.Error(), "certificate") || asked {
		t.Errorf("%v, asked: %v", err, asked)
	}
	checkRefusal(t, "Stat k", err)
}

func readAll(s store.Store, key string) ([]byte, error) {
	body, err := s.Get(context.Background(), key, 0, -1)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
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

// What fits into one request is one, and so is reading it.
func TestS3Requests(t *testing.T) {
	server := s3.Start(t, "bucket")
	p := server.Before(t, nil)
	s := bucket(t, p.Location("bucket/x"))
	if _, err := s.Put(context.Background(), "k", write(strings.Repeat("x", 16<<20))); err != nil {
		t.Fatal(err)
	}
	if n, err := readAll(s, "k"); len(n) != 16<<20 || err != nil {
		t.Errorf("%d bytes, %v", len(n), err)
	}
	if got := p.Asked(); !slices.Equal(got, []string{"PUT x/k", "GET x/k"}) {
		t.Errorf("asked: %q", got)
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

// Whose key is wrong is told so in the server's words.
func TestS3WrongKeyIsTold(t *testing.T) {
	server := s3.Start(t, "bucket")
	s := bucket(t, server.Location("bucket/x"))
	t.Setenv("AWS_SECRET_ACCESS_KEY", "another")
	if _, err := readAll(s, "k"); err == nil || !strings.Contains(err.Error(), "request signature we calculated does not match the signature you provided") {
		t.Errorf("error %v", err)
	}
}

func TestS3Locations(t *testing.T) {
	for _, location := range []string{
		"s3://", "s3:///x", "s3://key:secret@bucket/x", "s3://b/x?style=odd", "s3://b/x?endpoint=host", "s3://b/x?sse=rot13",
		"s3://b/x?endpoint=https://host/s3", "s3://b/x?endpoint=https://host%3Fa", "s3://b/x?endpoint=https://host%23a",
		"s3://b/x?secret=1", "s3://b/x?region=", "s3://b/x?conditional=maybe", "s3://b/x#y",
	} {
		if _, err := store.Open(location); !errors.Is(err, store.ErrLocation) {
			t.Errorf("%s: %v", location, err)
		}
	}
	for _, endpoint := range []string{"http://host", "https://host:9000", "https://host/"} {
		if _, err := store.Open("s3://b/x?endpoint=" + endpoint); err != nil {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}

// What goes while it is compared was there: nobody is told that it is not.
func TestS3VanishesWhileCompared(t *testing.T) {
	server := s3.Start(t, "bucket")
	p := server.Before(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == "PUT" { // the name is taken, it says
			w.WriteHeader(http.StatusPreconditionFailed)
		}
		return r.Method == "PUT"
	})
	_, err := bucket(t, p.Location("bucket/x")).Put(context.Background(), "k", write("offered"))
	if !errors.Is(err, store.ErrVanished) || errors.Is(err, store.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// A conflict with nobody, as with one who has just removed something, passes.
func TestS3ConflictPasses(t *testing.T) {
	server := s3.Start(t, "bucket")
	var refused atomic.Int32
	p := server.Before(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != "PUT" || refused.Add(1) > 2 {
			return false
		}
		w.WriteHeader(http.StatusConflict)
		io.WriteString(w, "<Error><Code>ConditionalRequestConflict</Code></Error>")
		return true
	})
	r, err := bucket(t, p.Location("bucket/x")).Put(context.Background(), "k", write("offered"))
	if err != nil || r.Size != 7 || refused.Load() != 3 {
		t.Errorf("%v, %v, %d attempts", r, err, refused.Load())
	}
}

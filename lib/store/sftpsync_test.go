package store_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgpipes/lib/sftpmsg"
	"pgpipes/lib/store"
)

// cut ends all connections, as a power cut does.
func (h *hostile) cut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.open {
		if conn, is := c.(net.Conn); is {
			conn.Close()
		}
	}
}

// Codes of the protocol.
const (
	codeDenied      = 3
	codeFailure     = 4
	codeBadMessage  = 5
	codeUnsupported = 8
	codeCut         = -1 // none: the connection ends
)

// syncing is a server that is asked to open directories and to sync them, and
// says what it likes.
type syncing struct {
	hostile
	opening func(dir string) (code int) // 0 if it does what it is asked for
	syncing func(dir string) (code int)

	mu      sync.Mutex
	handles map[string]string // the files and directories that are open
	synced  []string          // directories
}

func (s *syncing) start(t *testing.T) store.Store {
	s.handles = map[string]string{}
	s.instead = func(m sftpmsg.Message) []byte {
		code := 0
		if _, f, _ := m.Parts(); m[0] == sftpmsg.Open {
			if dir := f.Text(); isDir(dir) && s.opening != nil {
				code = s.opening(dir)
			}
		} else if dir := s.asked(m); dir != "" && s.syncing != nil {
			code = s.syncing(dir)
		}
		switch code {
		case 0:
			return nil
		case codeCut:
			s.cut()
			return []byte{}
		}
		return status(m, code)
	}
	s.after = func(request, honest sftpmsg.Message) []byte {
		if request == nil {
			return honest.Bytes()
		}
		if dir := s.asked(request); dir != "" {
			s.mu.Lock()
			s.synced = append(s.synced, dir)
			s.mu.Unlock()
		}
		_, asked, _ := request.Parts()
		if _, f, _ := honest.Parts(); request[0] == sftpmsg.Open && honest[0] == sftpmsg.Handle {
			s.mu.Lock()
			s.handles[f.Text()] = asked.Text()
			s.mu.Unlock()
		}
		return honest.Bytes()
	}
	return s.hostile.start(t)
}

// asked is the directory that a message asks to sync, "" if it does not.
func (s *syncing) asked(m sftpmsg.Message) string {
	if !extension(m, "fsync@openssh.com") {
		return ""
	}
	_, f, _ := m.Parts()
	f.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	if dir := s.handles[f.Text()]; isDir(dir) {
		return dir
	}
	return ""
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// Nothing is durable whose directory was not synced, unless the server says that
// it cannot do that.
func TestSFTPSyncsDirectories(t *testing.T) {
	always := func(code int) func(string) int { return func(string) int { return code } }
	for name, test := range map[string]struct {
		server *syncing
		fails  bool
	}{
		"lost when it opens": {&syncing{opening: always(codeCut)}, true},
		"lost when it syncs": {&syncing{syncing: always(codeCut)}, true},
		"a broken disk":      {&syncing{syncing: always(codeFailure)}, true},
		"not opened":         {&syncing{opening: always(codeDenied)}, false},
		"not opened at all":  {&syncing{opening: always(codeFailure)}, false},
		"not opened as file": {&syncing{opening: always(codeUnsupported)}, false},
		"not synced":         {&syncing{syncing: always(codeUnsupported)}, false},
		"EINVAL":             {&syncing{syncing: always(codeBadMessage)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := test.server.start(t)
			for _, what := range []string{"Put", "Put again", "Sync", "Remove"} {
				if err := os.WriteFile(filepath.Join(test.server.Root, "k"), []byte("offered"), 0o600); err != nil {
					t.Fatal(err)
				}
				if what == "Put" {
					os.Remove(filepath.Join(test.server.Root, "k"))
				}
				err := operations[strings.TrimSuffix(what, " again")](context.Background(), s)
				if (err != nil) != test.fails || errors.Is(err, store.ErrNotExist) {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// A directory that cannot be opened any more when the object has its name would
// say so in the same words as one that never could.
func TestSFTPOpensDirectoriesBefore(t *testing.T) {
	var s syncing
	s.opening = func(string) int {
		if _, err := os.Lstat(filepath.Join(s.Root, "dir/k")); err == nil {
			return codeFailure
		}
		return 0
	}
	far := s.start(t)
	if _, err := far.Put(context.Background(), "dir/k", write("x")); err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(s.Root, "dir"); !slices.Contains(s.synced, want) {
		t.Errorf("synced: %q", s.synced)
	}
}

// Directories that are there already may have been made by somebody who was
// killed before the sync. One that failed is asked for again.
func TestSFTPSyncsDirectoriesAbove(t *testing.T) {
	for _, above := range []string{"made", "there"} {
		t.Run(above, func(t *testing.T) {
			t.Parallel()
			var s syncing
			failed := false
			s.syncing = func(dir string) int {
				if dir == s.Root && !failed {
					failed = true
					return codeFailure
				}
				return 0
			}
			far := s.start(t)
			if above == "there" {
				if err := os.MkdirAll(filepath.Join(s.Root, "a/b"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := far.Put(context.Background(), "a/b/k", write("x")); err == nil {
				t.Error("the root was not synced, and it is success")
			}
			if _, err := far.Put(context.Background(), "a/b/l", write("x")); err != nil {
				t.Fatal(err)
			}
			for _, dir := range []string{".", "a", "a/b"} {
				if want := filepath.Join(s.Root, dir); !slices.Contains(s.synced, want) {
					t.Errorf("%s was not synced", want)
				}
			}
			before := len(s.synced)
			if _, err := far.Put(context.Background(), "a/b/m", write("x")); err != nil || len(s.synced) != before+1 {
				t.Errorf("synced again: %q, %v", s.synced[before:], err)
			}
		})
	}
}

// What goes while it is compared was there: nobody is told that it is not.
func TestSFTPVanishesWhileCompared(t *testing.T) {
	h := &hostile{}
	h.instead = func(m sftpmsg.Message) []byte {
		if _, f, _ := m.Parts(); m[0] == sftpmsg.Open {
			if name := f.Text(); filepath.Base(name) == "k" {
				os.Remove(name)
			}
		}
		return nil
	}
	s := h.start(t)
	if err := os.WriteFile(filepath.Join(h.Root, "k"), []byte("offered"), 0o600); err != nil {
		t.Fatal(err)
	}
	refuses(t, "Put", s, "vanished", operations["Put"])
}

// A removal whose answer was lost has happened. What was not there before is
// still absent.
func TestSFTPRemovesWhenConnectionIsLost(t *testing.T) {
	for key, lostAt := range map[string]byte{"k": sftpmsg.Remove, "absent": sftpmsg.Lstat} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			h, lost := &hostile{}, false
			h.after = func(request, honest sftpmsg.Message) []byte {
				if request != nil && request[0] == lostAt && !lost {
					lost = true
					h.cut()
				}
				return honest.Bytes()
			}
			s := h.start(t)
			if err := os.WriteFile(filepath.Join(h.Root, "k"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := operations["Stat"](context.Background(), s); err != nil {
				t.Fatal(err)
			}
			err := s.Remove(context.Background(), key)
			if _, gone := os.Stat(filepath.Join(h.Root, key)); !lost || gone == nil {
				t.Fatalf("lost: %t, left: %t", lost, gone == nil)
			}
			if key == "k" && err != nil || key == "absent" && !errors.Is(err, store.ErrNotExist) {
				t.Errorf("%v", err)
			}
		})
	}
}

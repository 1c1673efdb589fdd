package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A server that is lost while it is copied: no backup comes of it, and the next
// one is not in its way.
func TestServerLostDuringCopy(t *testing.T) {
	lose := map[string]func(s *site){
		"killed":              (*site).Kill,
		"immediate shutdown":  func(s *site) { s.Stop("immediate") },
		"fast shutdown":       func(s *site) { s.Stop("fast") },
		"killed, and started": func(s *site) { s.Kill(); s.Start() },
		"session terminated": func(s *site) {
			s.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
		},
	}
	for name, loseIt := range lose {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, small)
			h := s.hold("lost", 64<<10)
			loseIt(s)
			if r := h.end(); r.status != 111 || r.err == "" {
				t.Errorf("base-copy: %s", r)
			}
			h.incomplete()
			expect(t, "in the repository", s.must("repo", "ls", "-r", s.repo, "base/"), "")
			s.fails(h.file, "base-restore", "-D", s.path("data"))
			if s.Pid() == 0 {
				s.Start()
			}
			s.backup("lost")
		})
	}
}

// fails feeds a file to a program that has to fail, and to leave no directory
// behind that a server could start from.
func (s *site) fails(file string, name string, args ...string) {
	s.t.Helper()
	r := s.fed(file, name, args...)
	if r.status == 0 || r.status > 111 || strings.Count(r.err, "\n") > 5 || r.err == "" {
		s.t.Errorf("%s: %s", name, r)
	}
	if exists(s.path("data")) {
		s.t.Errorf("%s: it left a directory behind", name)
		os.RemoveAll(s.path("data"))
	}
}

// A copy that is killed: the server forgets the backup, the stream is refused,
// and the next copy works. One that could clean up did.
func TestCopyKilled(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, small)
			h := s.hold("killed", 64<<10)
			h.cmd.Process.Signal(signal)
			if r := h.end(); r.status != 128+int(signal) {
				t.Errorf("base-copy: %s", r)
			}
			h.incomplete()
			s.noBackupRuns()
			s.fails(h.file, "base-restore", "-D", s.path("data"))
			left := s.must("repo", "ls", "-r", s.repo, "base/")
			if want := map[bool]string{true: "base/killed/start\n"}[signal == syscall.SIGKILL]; left != want {
				t.Errorf("in the repository: %q, want %q", left, want)
			}
			s.backup("next")
		})
	}
}

// A reader that goes away ends the copy, and nothing is left.
func TestReaderOfCopyLeaves(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	h := s.hold("unread", 64<<10)
	h.stream.Close()
	h.cmd.Wait()
	if status := statusOf(h.cmd.ProcessState); status == 0 {
		t.Errorf("status %d: %s", status, h.stderr.String())
	}
	s.noBackupRuns()
	if exists(h.manifest) {
		t.Error("there is a manifest")
	}
}

// A stream that is cut, anywhere, or that is not alone, is refused by everything
// that reads it.
func TestStreamNotWhole(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.lean()
	h := s.hold("whole", 64<<10)
	h.done()
	whole, err := os.ReadFile(h.file)
	if err != nil {
		t.Fatal(err)
	}
	size := len(whole)
	streams := map[string][]byte{
		"empty":                   nil,
		"one byte":                whole[:1],
		"one block":               whole[:512],
		"a third":                 whole[:size/3],
		"a third, whole blocks":   whole[:size/3/512*512],
		"without the trailer":     whole[:size-1024],
		"with half the trailer":   whole[:size-512],
		"without the last byte":   whole[:size-1],
		"without manifest":        whole[:size-1024-60_000],
		"twice":                   append(append([]byte{}, whole...), whole...),
		"with something after":    append(append([]byte{}, whole...), "more"...),
		"with a bit flipped":      flipped(whole, size/2),
		"with a header flipped":   flipped(whole, 512*2+3),
		"compressed and cut":      cutShort(compressed(t, s, h.file)),
		"with a trailer in front": append(make([]byte, 1024), whole...),
	}
	for name, stream := range streams {
		file := s.path("stream")
		if err := os.WriteFile(file, stream, 0o644); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			s.fails(file, "base-restore", "-D", s.path("data"))
			s.fails(file, "base-restore", "-D", s.path("data"), "-m", h.manifest)
			s.fails(file, "manifest", "verify", "-m", h.manifest)
			s.fails(file, "manifest", "create", "-o", s.path("created"))
			if exists(s.path("created")) {
				t.Error("manifest create wrote a manifest")
				os.Remove(s.path("created"))
			}
		})
	}
	t.Run("whole", func(t *testing.T) {
		if r := s.fed(h.file, "manifest", "verify", "-m", h.manifest); r.status != 0 {
			t.Error(r)
		}
		if r := s.fed(h.file, "base-restore", "-D", s.path("data"), "-m", h.manifest); r.status != 0 {
			t.Error(r)
		}
		s.must("manifest", "verify", "-m", h.manifest, "-D", s.path("data"))
	})
}

func flipped(b []byte, at int) []byte {
	b = append([]byte{}, b...)
	b[at] ^= 1
	return b
}

func compressed(t *testing.T, s *site, file string) []byte {
	t.Helper()
	r := s.fed(file, "compress")
	if r.status != 0 {
		t.Fatal(r)
	}
	return []byte(r.out)
}

// A manifest that is damaged, or another backup's, does not verify anything.
func TestManifestOfAnotherBackup(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	first := s.hold("first", 64<<10)
	first.done()
	s.SQL("CREATE TABLE more AS SELECT generate_series(1, 1000)")
	second := s.hold("second", 64<<10)
	second.done()
	s.fails(first.file, "base-restore", "-D", s.path("data"), "-m", second.manifest)
	s.fails(first.file, "manifest", "verify", "-m", second.manifest)
	b, err := os.ReadFile(first.manifest)
	if err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(s.dir, "damaged")
	if err := os.WriteFile(damaged, []byte(strings.Replace(string(b), "PG_VERSION", "PG_VERSIOM", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	s.fails(first.file, "base-restore", "-D", s.path("data"), "-m", damaged)
}

func cutShort(b []byte) []byte { return b[:len(b)-1] }

package main_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
	"pgpipes/test/script"
	"pgpipes/test/slowfs"
)

// A scene is a data directory that recovers from a slow repository.
type scene struct {
	*testing.T
	far  *slowfs.FS
	data string
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t, slowfs.Mount(t, t.TempDir()), filepath.Join(t.TempDir(), "data")}
	if err := fixture.DataDirectory(s.data, fixture.SystemID, wal.MinSegmentSize); err != nil {
		t.Fatal(err)
	}
	for n := range uint64(6) {
		name := wal.MinSegmentSize.Name(1, n+1)
		path := filepath.Join(t.TempDir(), name)
		if err := (fixture.Segment{Name: name}).Write(path); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(filepath.Join(script.Programs(), "wal-push"), "--ahead=0", "-r", s.far.Back+"/r", path).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return s
}

// get runs wal-get as the server does, with a descriptor that it has leaked.
func (s *scene) get(leaked *os.File, options ...string) {
	s.Helper()
	args := append(options, "-r", s.far.Dir+"/r", "--state", s.data+".state", wal.MinSegmentSize.Name(1, 1), "pg_wal/RECOVERYXLOG")
	cmd := exec.Command(filepath.Join(script.Programs(), "wal-get"), args...)
	cmd.Dir, cmd.Env = s.data, []string{}
	cmd.ExtraFiles = []*os.File{leaked}
	var said bytes.Buffer
	cmd.Stderr = &said
	// Would the background have standard error, this would wait for it.
	if err := cmd.Run(); err != nil || said.Len() > 0 {
		s.Fatalf("%v: %s", err, &said)
	}
}

// background finds the process that the last get has left.
func (s *scene) background() int {
	s.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		s.Fatal(err)
	}
	for _, path := range all {
		line, _ := os.ReadFile(path) // it may be gone
		if bytes.Contains(line, []byte("--detached")) && bytes.Contains(line, []byte(s.data+".state")) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				s.Fatal(err)
			}
			return pid
		}
	}
	s.Fatal("there is no background")
	return 0
}

func proc(pid int, file string) string { return fmt.Sprintf("/proc/%d/%s", pid, file) }

// detached checks that a process has nothing of the one that started it.
func (s *scene) detached(pid int) {
	s.Helper()
	if at, err := os.Readlink(proc(pid, "cwd")); err != nil || at != "/" {
		s.Errorf("it is in %s, %v", at, err)
	}
	if sid, err := unix.Getsid(pid); err != nil || sid != pid {
		s.Errorf("its session is %d, not its own %d: %v", sid, pid, err)
	}
	open, err := os.ReadDir(proc(pid, "fd"))
	if err != nil {
		s.Fatal(err)
	}
	for _, fd := range open {
		to, err := os.Readlink(proc(pid, "fd/"+fd.Name()))
		if number, _ := strconv.Atoi(fd.Name()); number <= 2 && to != os.DevNull {
			s.Errorf("descriptor %d is %s, %v", number, to, err)
		}
		if strings.HasPrefix(to, "pipe:") || strings.HasPrefix(to, s.data+"/") {
			s.Errorf("descriptor %s is %s", fd.Name(), to)
		}
	}
}

// The background has a session, but no descriptor of the server's, and whoever
// inherits it sees it end well: by itself, and at once after a signal, even
// while the repository hangs.
func TestBackground(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	s := newScene(t)
	far := slowfs.Weather{Latency: 100 * time.Millisecond}
	for _, signal := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, 0} {
		s.far.Set(far)
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		before := s.far.Trips()
		s.get(write, "--ahead=0")
		own := s.far.Trips() - before
		s.get(write, "--ahead=4")
		s.until("the background is at work", func() bool { return s.far.Trips() > before+2*own })
		pid := s.background()
		if signal != 0 {
			s.far.Set(slowfs.Weather{Hang: true, Latency: far.Latency})
		}
		s.detached(pid)
		write.Close()
		if _, err := read.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the leaked descriptor: %v", err)
		}
		read.Close()
		if signal != 0 {
			if err := unix.Kill(pid, signal); err != nil {
				t.Fatal(err)
			}
		}
		s.buried(pid, signal)
	}
	if found, _ := filepath.Glob(s.data + ".state/get/*/0*"); len(found) != 4 {
		t.Errorf("fetched: %q", found)
	}
}

// until waits for a condition.
func (s *scene) until(what string, done func() bool) {
	s.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("still not so: %s", what)
		}
	}
}

// buried waits for the end of a process that has become our child.
func (s *scene) buried(pid int, signal unix.Signal) {
	s.Helper()
	var status unix.WaitStatus
	s.until(fmt.Sprintf("it has ended after %v", signal), func() bool {
		got, err := unix.Wait4(pid, &status, unix.WNOHANG, nil)
		if err != nil {
			s.Fatal(err)
		}
		return got == pid
	})
	if !status.Exited() || status.ExitStatus() != 0 {
		s.Errorf("%v: it ended with %v", signal, status)
	}
}

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pgpipes/test/tracer"
)

// A restore that is killed, wherever, leaves no directory that a server could
// start from unless it is complete; the next restore into it succeeds.
func TestRestoreKilled(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.lean()
	s.must("mkdir", s.path("the tablespace"))
	s.SQL("CREATE TABLESPACE elsewhere LOCATION '" + s.path("the tablespace") + "'")
	s.SQL("CREATE TABLE elsewhere TABLESPACE elsewhere AS SELECT generate_series(1, 1000) AS n")
	h := s.hold("b", 64<<10)
	h.done()
	info, err := os.Stat(h.file)
	if err != nil {
		t.Fatal(err)
	}
	oid := s.SQL("SELECT oid FROM pg_tablespace WHERE spcname = 'elsewhere'")
	args := []string{"-D", s.path("data"), "-m", h.manifest, "--tablespace", oid + "=" + s.path("space")}
	again := func(t *testing.T) {
		t.Helper()
		s := s.in(t)
		if exists(s.path("data/global/pg_control")) { // it was killed when all was done
			s.must("manifest", "verify", "-m", h.manifest, "-D", s.path("data"))
			s.must("rm", "-r", s.path("data"), s.path("space"))
		}
		if r := s.fed(h.file, "base-restore", args...); r.status != 0 {
			t.Errorf("base-restore, again: %s", r)
		}
		s.must("manifest", "verify", "-m", h.manifest, "-D", s.path("data"))
		s.must("rm", "-r", s.path("data"), s.path("space"))
	}
	for _, share := range []int64{1, 60, 100} {
		t.Run(fmt.Sprintf("after %d%%", share), func(t *testing.T) {
			s.killFed(t, h.file, info.Size()*share/100, args)
			again(t)
		})
	}
	for _, point := range []string{
		"mkdirat:1", "mkdirat:3", "openat:100", "write:30", "ftruncate:1", "pwrite64:1", "fsync:1", "fsync:2",
		"syncfs:1", "symlinkat:1", "renameat:1", "unlinkat:1",
	} {
		t.Run("at "+point, func(t *testing.T) {
			if r := s.killAt(t, point, h.file, "base-restore", args...); r.status != 128+int(syscall.SIGKILL) {
				t.Errorf("not killed: %s", r)
			}
			again(t)
		})
	}
}

// killFed feeds a program the first bytes of a file, and then kills it.
func (s *site) killFed(t *testing.T, file string, n int64, args []string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := s.Command("base-restore", args...)
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		_, err = io.CopyN(in, f, n)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
}

// systemCalls are those at which programs are killed.
var systemCalls = map[string]uint64{
	"fchmod": unix.SYS_FCHMOD, "fsync": unix.SYS_FSYNC, "ftruncate": unix.SYS_FTRUNCATE, "getdents64": unix.SYS_GETDENTS64,
	"linkat": unix.SYS_LINKAT, "mkdirat": unix.SYS_MKDIRAT, "openat": unix.SYS_OPENAT, "pwrite64": unix.SYS_PWRITE64,
	"renameat": unix.SYS_RENAMEAT, "symlinkat": unix.SYS_SYMLINKAT, "syncfs": unix.SYS_SYNCFS, "unlinkat": unix.SYS_UNLINKAT,
	"utimensat": unix.SYS_UTIMENSAT, "write": unix.SYS_WRITE,
}

// killAt runs a program that is killed when it makes a system call for the nth
// time: name:n.
func (s *site) killAt(t *testing.T, point, file, name string, args ...string) result {
	t.Helper()
	call, nth, _ := strings.Cut(point, ":")
	number, known := systemCalls[call]
	n, err := strconv.Atoi(nth)
	if err != nil || !known {
		t.Fatalf("%s is no point", point)
	}
	at := tracer.Interruption{Call: number, Nth: n}
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	cmd := s.Command(name, args...)
	var out, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &stderr
	ended, err := tracer.Run(cmd, 0, at)
	if err != nil {
		t.Fatal(err)
	}
	return result{ended.Status, out.String(), stderr.String()}
}

// A backup whose base-copy is killed at a system call leaves nothing that is
// listed, and the next backup works.
func TestCopyKilledAtSystemCalls(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.backup("good")
	for i, point := range []string{"openat:30", "openat:200", "openat:1000", "getdents64:5", "write:3", "write:40", "linkat:1", "fsync:1", "fsync:2", "unlinkat:1"} {
		t.Run("at "+point, func(t *testing.T) {
			label := "killed" + itoa(i)
			out := s.path(label)
			options := []string{"-D", s.Data, "-r", s.repo, "--fast", "--label", label, "-m", out + ".manifest"}
			r := s.killAt(t, point, os.DevNull, "base-copy", options...)
			if r.status == 0 {
				return // it does not come to that call
			}
			if r.status != 128+int(syscall.SIGKILL) {
				t.Errorf("base-copy: %s", r)
			}
			if err := os.WriteFile(out, []byte(r.out), 0o644); err != nil {
				t.Fatal(err)
			}
			if exists(out+".manifest") && members(t, out)["backup_manifest"] == 0 {
				t.Error("there is a manifest without a stream")
			}
			s.noBackupRuns()
			if r := s.run("manifest", "verify", "-r", s.repo, label); r.status == 0 {
				t.Errorf("manifest verify: %s", r)
			}
		})
	}
	s.backup("next")
	s.must("manifest", "verify", "-r", s.repo)
}

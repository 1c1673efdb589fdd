package main_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"pgpipes/lib/durable"
	"pgpipes/lib/manifest"
	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
	"pgpipes/test/script"
)

// mostMemory is what a program may take for a million files, in bytes.
const mostMemory = 300 << 20

// TestScale has a manifest of a million files read by everything that reads
// manifests. Memory is bounded; times are for who reads the log.
func TestScale(t *testing.T) {
	few, many := newScale(t, 100_000), newScale(t, 1_000_000)
	for _, c := range [][]string{
		{"manifest", "verify", "--quick", "-r", "r"},
		{"manifest", "list", "-r", "r"},
		{"manifest", "show", "--header", "-r", "r", "b"},
		{"sh", "-c", "exec manifest seal m <receipts >/dev/null"},
		{"expire", "-r", "r", "--keep-last", "1"},
	} {
		took, _ := few.run(t, c)
		takes, memory := many.run(t, c)
		t.Logf("%v: %s, ten times as many: %s, %d MiB", c, took, takes, memory>>20)
		if memory > mostMemory {
			t.Errorf("%v: %d MiB", c, memory>>20)
		}
	}
}

// scale is a directory with a repository r, and a manifest m with its receipts.
type scale struct{ dir string }

func newScale(t *testing.T, files int) scale {
	t.Helper()
	s := scale{t.TempDir()}
	s.write(t, "pg/global/pg_control", fixture.Control(fixture.SystemID, wal.MinSegmentSize))
	s.write(t, "pg/PG_VERSION", []byte("15\n"))
	segment := fixture.Segment{Name: "000000010000000000000001"}
	s.write(t, "pg/"+segment.Name, segment.Bytes())
	s.run(t, []string{"repo", "init", "-r", "r", "-D", "pg"})
	s.run(t, []string{"wal-push", "-r", "r", "pg/" + segment.Name})

	backup, err := fixture.Backup{Label: "b", First: 1, Last: 1, Stop: time.Now()}.Files()
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.NewReader(bytes.NewReader(backup["manifest"]))
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "r/base/b/000.tar", backup["000.tar"])
	s.writeMany(t, "r/base/b/manifest", m.Header(), files)
	if err := os.Link(filepath.Join(s.dir, "r/base/b/manifest"), filepath.Join(s.dir, "m")); err != nil {
		t.Fatal(err)
	}
	p := m.Header().Parts[0]
	s.write(t, "receipts", fmt.Appendf(nil, "%s\t%d\t%s\n", p.SHA256, p.Size, p.Key))
	return s
}

// writeMany writes a manifest of so many files. It must not take memory here: a
// process that is started counts what its parent had.
func (s scale) writeMany(t *testing.T, name string, h manifest.Header, files int) {
	t.Helper()
	w := manifest.NewWriter(t.TempDir())
	defer w.Close()
	for i := range files {
		e := manifest.Entry{
			Kind: manifest.File, Mode: 0o600, Owner: "postgres:postgres", Size: 8192, MTime: h.StopTime,
			SHA256: fmt.Sprintf("%064x", i), Part: "000", Path: fmt.Sprintf("base/%d/%d", 16384+i%97, i),
		}
		if err := w.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	err := durable.WriteFile(filepath.Join(s.dir, name), 0o600, func(out io.Writer) error { return w.Finish(out, h) })
	if err != nil {
		t.Fatal(err)
	}
}

func (s scale) write(t *testing.T, name string, contents []byte) {
	t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, contents, 0o600); err != nil {
		t.Fatal(err)
	}
}

// command is a program in the directory.
func (s scale) command(argv []string) *exec.Cmd {
	cmd := exec.Command("env", append([]string{"PATH=" + script.Programs() + ":" + os.Getenv("PATH")}, argv...)...)
	cmd.Dir = s.dir
	return cmd
}

// run runs a program to its good end. It returns the processor's time and the
// memory, in bytes, that it took at most.
func (s scale) run(t *testing.T, argv []string) (time.Duration, int64) {
	t.Helper()
	cmd := s.command(argv)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %.300s", argv, err, said)
	}
	used := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), used.Maxrss << 10
}

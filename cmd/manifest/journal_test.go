package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgpipes/test/fixture"
	"pgpipes/test/script"
)

// journaled is a repository r of this many segments, in a directory.
const journaled = 40

func newJournaled(t *testing.T) scale {
	t.Helper()
	s := newScale(t, 10)
	for n := 2; n <= journaled; n++ {
		segment := fixture.Segment{Name: fmt.Sprintf("0000000100000000%08X", n)}
		s.write(t, "pg/"+segment.Name, segment.Bytes())
		s.run(t, []string{"wal-push", "-r", "r", "pg/" + segment.Name})
	}
	if err := os.RemoveAll(filepath.Join(s.dir, "r/base")); err != nil {
		t.Fatal(err)
	}
	stream, err := fixture.BaseStream()
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "b.tar", stream)
	s.run(t, []string{"sh", "-euc", `manifest create -o m2 --label b <b.tar
		repo put -r r base/b/000.tar <b.tar >receipt
		manifest seal m2 <receipt | repo put -r r base/b/manifest`})
	return s
}

// verify verifies with a journal and returns how it ended and how many bytes
// were read and known.
func (s scale) verify(t *testing.T, options ...string) (status int, said string, read, known int64) {
	t.Helper()
	cmd := s.command(append([]string{"manifest", "verify", "-v", "--no-record", "-r", "r", "--journal", "j"}, options...))
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if _, err := fmt.Sscanf(line, "manifest: %d bytes of WAL and parts were read, %d were known", &read, &known); err == nil {
			break
		}
	}
	return script.Status(err), string(out), read, known
}

// noted waits until the journal has so many lines, and returns their number.
func (s scale) noted(t *testing.T, lines int) int {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(s.dir, "j"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if n := bytes.Count(text, []byte("\n")); n >= lines {
			return n
		}
	}
	t.Fatal("nothing is noted")
	return 0
}

// interrupt kills a verification that has noted a part of all.
func (s scale) interrupt(t *testing.T) (lines int) {
	t.Helper()
	cmd := exec.Command(filepath.Join(script.Programs(), "manifest"), "verify", "--no-record", "-r", "r", "--journal", "j", "--max-rate", "4MB")
	cmd.Dir = s.dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.noted(t, 10)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	return s.noted(t, 10)
}

// A verification that was killed is gone on with: what it has noted is not read
// again, but for the last segment, from which the log goes on.
func TestJournal(t *testing.T) {
	s := newJournaled(t)
	status, said, all, known := s.verify(t)
	if status != 0 || known != 0 || all == 0 {
		t.Fatalf("status %d: %s", status, said)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "j")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a finished journal is left: %v", err)
	}
	lines := s.interrupt(t) - 1
	if lines > journaled-5 {
		t.Fatalf("killed too late: %d lines", lines)
	}
	text := s.read(t, "j")
	segment := all / journaled
	s.write(t, "j", append(text, "wal/torn"...))
	status, said, read, known := s.verify(t)
	if status != 0 || read+known != all || known < int64(lines-3)*segment {
		t.Errorf("status %d, %d lines: %s", status, lines, said)
	}
	s.write(t, "j", text) // as if it had been killed at the very end
	if _, _, again, _ := s.verify(t, "-j", "1"); again != read {
		t.Errorf("%d bytes were read, and %d", read, again)
	}

	s.write(t, "j", text)
	first := "r/wal/0000000100000000/000000010000000000000001.zst"
	damaged := s.read(t, first)
	damaged[len(damaged)/2] ^= 1
	s.write(t, first, damaged)
	if status, said, _, _ := s.verify(t); status != 1 || !strings.Contains(said, "damaged\t"+first[2:]) {
		t.Errorf("changed since: status %d: %s", status, said)
	}
}

func (s scale) read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A file that is no journal of this repository is refused and left as it is; what
// could not be read is for the next time.
func TestJournalRefused(t *testing.T) {
	s := newJournaled(t)
	for name, text := range map[string]string{
		"of another repository": "pgpipes-verify-journal\t1\tOTHER\nx\t1\t2026-11-22T10:15:00Z\n",
		"something else":        "dear diary\n",
		"long":                  strings.Repeat("x", 1000),
	} {
		s.write(t, "j", []byte(text))
		if status, said, _, _ := s.verify(t); status != 100 || !strings.Contains(said, "not a journal of this repository") {
			t.Errorf("%s: status %d: %s", name, status, said)
		}
		if got := s.read(t, "j"); string(got) != text {
			t.Errorf("%s: became %q", name, got)
		}
	}
	if err := os.Remove(filepath.Join(s.dir, "j")); err != nil {
		t.Fatal(err)
	}
	if status, said, _, _ := s.verify(t, "--journal", "r/j"); status != 100 || !strings.Contains(said, "lies in the repository") {
		t.Errorf("status %d: %s", status, said)
	}
	s.write(t, "j", []byte("pgpipes-ver")) // killed while it was made
	if status, said, _, known := s.verify(t); status != 0 || known != 0 {
		t.Errorf("status %d: %s", status, said)
	}
	if err := os.Chmod(filepath.Join(s.dir, "r/base/b/000.tar"), 0); err != nil {
		t.Fatal(err)
	}
	argv := append(script.Powerless(), "manifest", "verify", "--no-record", "-r", "r", "--journal", "j")
	if out, err := s.command(argv).CombinedOutput(); script.Status(err) != 111 {
		t.Errorf("unreadable: %v: %s", err, out)
	}
	if n := s.noted(t, journaled); n != journaled+1 {
		t.Errorf("%d lines, not %s", n, strconv.Itoa(journaled+1))
	}
}

package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
)

const (
	manySegments = 1_000_000
	manyBackups  = 1_000
	// muchMemory and muchTime are what a program may take for them: bytes, and the
	// processor's time on a busy machine.
	muchMemory = 200 << 20
	muchTime   = 60 * time.Second
)

// TestScaleOfRepository has a repository of many backups and segments looked at.
func TestScaleOfRepository(t *testing.T) {
	s := scale{t.TempDir()}
	s.write(t, "pg/global/pg_control", fixture.Control(fixture.SystemID, wal.MinSegmentSize))
	s.run(t, []string{"repo", "init", "-r", "r", "-D", "pg"})
	s.fill(t, manySegments)
	for i := range manyBackups {
		first := uint64(1 + i*(manySegments-10)/manyBackups)
		b := fixture.Backup{Label: fmt.Sprintf("b%06d", i), First: first, Last: first + 3, Stop: time.Now()}
		files, err := b.Files()
		if err != nil {
			t.Fatal(err)
		}
		for name, contents := range files {
			s.write(t, filepath.Join("r/base", b.Label, name), contents)
		}
	}
	for _, c := range [][]string{
		{"manifest", "verify", "--quick", "-r", "r"},
		{"manifest", "list", "-r", "r"},
		{"manifest", "list", "-r", "r", "--to", "lsn=F/0"},
		{"manifest", "status", "--prometheus", "-r", "r"},
		{"expire", "-r", "r", "--keep-last", "7", "--wal-keep", "backup", "--dry-run"},
	} {
		took, memory := s.run(t, c)
		t.Logf("%v: %s, %d MiB", c, took, memory>>20)
		if memory > muchMemory || took > muchTime {
			t.Errorf("%v: %s, %d MiB", c, took, memory>>20)
		}
	}
}

// fill makes so many segments, which are links to few files: file systems bound
// the number of links.
func (s scale) fill(t *testing.T, segments int) {
	t.Helper()
	const links = 30_000
	source := ""
	for n := 1; n <= segments; n++ {
		name := wal.MinSegmentSize.Name(1, uint64(n))
		path := filepath.Join("r/wal", name[:16], name+".zst")
		if n%links == 1 {
			s.write(t, path, make([]byte, 1000))
			source = filepath.Join(s.dir, path)
			continue
		}
		err := os.Link(source, filepath.Join(s.dir, path))
		if os.IsNotExist(err) {
			if err = os.MkdirAll(filepath.Join(s.dir, filepath.Dir(path)), 0o700); err == nil {
				err = os.Link(source, filepath.Join(s.dir, path))
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

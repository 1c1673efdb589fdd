package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgpipes/test/pgtest"
)

// The whole story, for each size of WAL segments: a busy cluster is copied,
// goes on, is lost, and comes back as it was at the moments that were noted.
func TestStory(t *testing.T) {
	for _, segmentMB := range []int{1, 16, 64} {
		t.Run(fmt.Sprintf("%dMB", segmentMB), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, shape{checksums: true, segmentMB: segmentMB})
			s.populate()
			s.copyWhileBusy("story")
			then := s.noteMoment()
			s.burst(100)
			s.SQL("INSERT INTO marks VALUES ('latest')")
			latest := s.SQL(digest)
			s.endSegment()
			s.SQL("INSERT INTO marks VALUES ('never archived')")
			s.Kill()
			space := s.tablespaceOID("story")

			t.Run("tablespace in the way", func(t *testing.T) {
				s.in(t).refuses(100, s.path("the tablespace"), "restore", "-r", s.repo, "-D", s.path("data"))
				if exists(s.path("data")) {
					t.Error("something was written")
				}
			})
			t.Run("stream", func(t *testing.T) { s.checkStream("story") })
			t.Run("latest", func(t *testing.T) {
				c := s.recovered(t, "--tablespace", space+"="+spaceFor(t))
				expect(t, "contents", c.SQL(digest), latest)
				expect(t, "unlogged rows", c.SQL("SELECT count(*) FROM unlogged"), "0")
				sound(t, c)
			})
			for _, target := range then.targets {
				if segmentMB != 1 && !strings.HasPrefix(target, "time") {
					continue
				}
				t.Run(target[:strings.IndexAny(target+"=", "=")], func(t *testing.T) {
					c := s.recovered(t, "--to", target, "--tablespace", space+"="+spaceFor(t), "--archive-mode", "off")
					expect(t, "contents", c.SQL(digest), then.digest)
				})
			}
			t.Run("immediate", func(t *testing.T) {
				c := s.recovered(t, "--to", "immediate", "--tablespace", space+"="+spaceFor(t), "--archive-mode", "off")
				expect(t, "marks", c.SQL("SELECT count(*) FROM marks"), "0")
				sound(t, c)
			})
		})
	}
}

// copyWhileBusy copies the cluster while pgbench runs, a session holds a
// temporary table, and relations grow, shrink and go.
func (s *site) copyWhileBusy(label string) {
	s.t.Helper()
	s.connect("CREATE TEMPORARY TABLE temporary AS SELECT generate_series(1, 1000)")
	stop := s.keepBusy()
	h := s.hold(label, 64<<10)
	s.disturb()
	s.burst(200)
	h.read(4 << 20)
	s.burst(100)
	h.done()
	stop()
	h.store(label)
}

// A moment is what recovery targets lead back to.
type moment struct {
	digest  string
	targets []string
}

// noteMoment notes what the tables hold and how to get back there.
func (s *site) noteMoment() moment {
	s.t.Helper()
	xid := s.SQL("INSERT INTO marks VALUES ('here') RETURNING pg_current_xact_id()")
	s.SQL("SELECT pg_create_restore_point('here')")
	return moment{s.SQL(digest), []string{
		"xid=" + xid,
		"name=here",
		"lsn=" + s.SQL("SELECT pg_current_wal_insert_lsn()"),
		"time=" + s.SQL("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00')"),
	}}
}

// checkStream looks at a backup with stock programs: its tar and PostgreSQL's
// manifest in it, and the WAL it needs, which pg_verifybackup walks through.
func (s *site) checkStream(label string) {
	s.t.Helper()
	data := s.unpack(label)
	wal := pgtest.TempDir(s.t)
	s.must("sh", "-euc", `for f in "$1"/wal/0*/*.zst; do n=${f##*/}; zstd -qdc "$f" > "$2/${n%.zst}"; done`, "sh", s.local, wal)
	s.must("pg_verifybackup", "-w", wal, data)
	for _, name := range []string{"postmaster.pid", "recovery.signal"} {
		if exists(filepath.Join(data, name)) {
			s.t.Errorf("%s is in the stream", name)
		}
	}
}

// tablespaceOID is the only one of a backup.
func (s *site) tablespaceOID(label string) string {
	s.t.Helper()
	b, err := os.ReadFile(s.inRepo("base", label, "manifest"))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if field := strings.Split(line, "\t"); field[0] == "tablespace" {
			return field[1]
		}
	}
	s.t.Fatal("no tablespace in the manifest")
	return ""
}

// spaceFor is a new place for a tablespace.
func spaceFor(t *testing.T) string { return filepath.Join(pgtest.TempDir(t), "a space") }

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

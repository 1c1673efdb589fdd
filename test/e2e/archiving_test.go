package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// While the repository fails the server is told so and keeps its WAL; when it
// is mended, archiving catches up by itself.
func TestArchivingCatchesUp(t *testing.T) {
	failures := map[string]struct{ fail, mend string }{
		"no permission": {`chmod 0 "$1"`, `chmod 700 "$1"`},
		"not mounted":   {`mv "${1%/*}" "${1%/*}.away"`, `mv "${1%/*}.away" "${1%/*}"`},
		"not a directory": {`mv "$1/wal" "$1/wal.away" && touch "$1/wal"`,
			`rm "$1/wal" && mv "$1/wal.away" "$1/wal"`},
	}
	for name, failure := range failures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := hereSite(t, small)
			s.use(s.path("mount/main"))
			s.must("mkdir", s.path("mount"))
			s.Configure(archiveTo(t, s.repo))
			s.SQL("SELECT pg_reload_conf()")
			s.SQL("CREATE TABLE rows (n int)")
			s.awaitCommand()
			s.backup("b")
			s.must("sh", "-euc", failure.fail, "sh", s.repo)
			first := s.SQL("INSERT INTO rows VALUES (1); SELECT pg_walfile_name(pg_switch_wal())")
			s.SQL("INSERT INTO rows VALUES (2); SELECT pg_switch_wal()")
			s.Until("SELECT failed_count > 0, last_failed_wal FROM pg_stat_archiver", "t|"+first)
			s.must("sh", "-euc", failure.mend, "sh", s.repo)
			s.SQL("INSERT INTO rows VALUES (3)")
			s.catchUp()
			s.Until("SELECT last_archived_time > last_failed_time FROM pg_stat_archiver", "t")
			expect(t, "rows", s.recovered(t, "--archive-mode", "off").SQL(allRows), "1,2,3")
		})
	}
}

// awaitCommand waits until the archiver has taken notice of new settings.
func (s *site) awaitCommand() {
	s.t.Helper()
	s.SQL("SELECT pg_switch_wal()")
	eventually(s.t, "a repository", func() bool { return exists(s.inRepo("pgpipes")) })
}

// nothingWaits waits until the server has no WAL left to archive.
func (s *site) nothingWaits() {
	s.t.Helper()
	eventually(s.t, "no more .ready", func() bool { return !s.waits() })
}

func (s *site) waits() bool {
	waiting, _ := filepath.Glob(filepath.Join(s.Data, "pg_wal/archive_status/*.ready"))
	return len(waiting) > 0
}

// catchUp ends segments until all are archived. After three failures the
// archiver waits for the end of the next segment, or a minute.
func (s *site) catchUp() {
	s.t.Helper()
	var ended time.Time
	eventually(s.t, "all archived", func() bool {
		if time.Since(ended) > 2*time.Second {
			s.endAnySegment()
			ended = time.Now()
		}
		return !s.waits()
	})
}

// endAnySegment writes something and ends the segment with it.
func (s *site) endAnySegment() string {
	s.t.Helper()
	return s.SQL("SELECT pg_walfile_name(pg_logical_emit_message(false, 'e2e', '')); SELECT pg_switch_wal()")[:24]
}

// Somebody else's segment is in the way: the archiver stays at it, the log says
// why, and nothing is overwritten.
func TestArchivingConflict(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE rows (n int)")
	s.SQL("SELECT pg_switch_wal()")
	before := s.row(1)
	next := s.SQL("SELECT pg_walfile_name(pg_current_wal_lsn() + 1)")
	file := s.segmentFile(next)
	shell(t, "cp", "-p", s.segmentFile(before), file)
	want, _ := os.ReadFile(file)
	s.SQL("INSERT INTO rows VALUES (2); SELECT pg_switch_wal()")
	s.Until("SELECT failed_count > 0, last_failed_wal, last_archived_wal FROM pg_stat_archiver", "t|"+next+"|"+before)
	if !strings.Contains(s.Log(), next+": already in the repository with different contents") {
		t.Errorf("the log does not say so:\n%s", s.Log())
	}
	if got, _ := os.ReadFile(file); string(got) != string(want) {
		t.Error("the stored segment has changed")
	}
	shell(t, "rm", file)
	s.catchUp()
	s.awaitSegment(next)
}

// Ten crashes and restarts lose nothing and block nothing: what was archived
// before a crash is offered again.
func TestArchivingSurvivesCrashes(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE rows (n int)")
	s.backup("b")
	for n := 1; n <= 10; n++ {
		s.SQL("INSERT INTO rows VALUES (" + itoa(n) + "); SELECT pg_switch_wal()")
		switch n % 3 {
		case 0:
			s.Stop("fast")
		case 1:
			s.Stop("immediate")
		case 2:
			s.Kill()
		}
		s.Start()
	}
	s.endSegment()
	s.nothingWaits()
	expect(t, "rows", s.recovered(t).SQL(allRows), "1,2,3,4,5,6,7,8,9,10")
}

// A fast shutdown ends the last segment and archives it before the server ends.
func TestFastShutdownArchives(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE rows (n int)")
	s.backup("b")
	s.SQL("INSERT INTO rows VALUES (1)")
	last := s.SQL("SELECT pg_walfile_name(pg_current_wal_lsn())")
	s.Stop("fast")
	if !exists(s.segmentFile(last)) {
		t.Errorf("%s: not archived", last)
	}
	expect(t, "rows", s.recovered(t).SQL(allRows), "1")
}

// Two repositories: an archive_command that reaches one of them fails, and both
// have everything once it does not.
func TestArchivingToTwo(t *testing.T) {
	t.Parallel()
	s := newSite(t, small, "archive_mode = on")
	second := s.path("second")
	s.Configure(archiveTo(t, second, s.repo))
	s.SQL("SELECT pg_reload_conf()")
	s.SQL("SELECT pg_switch_wal()")
	eventually(t, "a second repository", func() bool { return exists(filepath.Join(second, "pgpipes")) })
	s.nothingWaits()
	s.must("chmod", "0", second)
	segment := s.endAnySegment()
	s.awaitSegment(segment)
	s.Until("SELECT failed_count > 0, last_failed_wal FROM pg_stat_archiver", "t|"+segment)
	s.must("chmod", "700", second)
	s.catchUp()
	if !exists(segmentFile(second, segment)) {
		t.Errorf("%s: not in the second", segment)
	}
}

// A standby with archive_mode = always offers again what it got from the very
// same repository.
func TestArchiveAlways(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE rows (n int)")
	s.backup("b")
	s.row(1)
	standby := s.standby("archive_mode = always")
	s.row(2)
	s.row(3)
	standby.Until(allRows, "1,2,3")
	standby.nothingWaits()
	standby.Until("SELECT archived_count >= 3, failed_count FROM pg_stat_archiver", "t|0")
}

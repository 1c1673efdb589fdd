package majors

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/wal"
	"pgpipes/test/pgtest"
)

// TestChain has every major write WAL of all kinds, walks through what it has
// archived, and compares with what PostgreSQL says of it.
func TestChain(t *testing.T) {
	if *majors == "" {
		newLog(t, 1).test()
		return
	}
	for major := range strings.SplitSeq(*majors, ",") {
		t.Run(major, func(t *testing.T) {
			t.Setenv("PGBIN", programs(t, major))
			for _, mb := range []int{1, 16} {
				t.Run(fmt.Sprintf("%d MiB", mb), func(t *testing.T) { newLog(t, mb).test() })
			}
		})
	}
}

// A log is what a cluster archives, as files that have not been touched.
type log struct {
	site
	archive string
	size    wal.SegmentSize
	ends    []wal.LSN // of records, as the server says
}

func newLog(t *testing.T, mb int) *log {
	t.Helper()
	l := &log{size: wal.SegmentSize(mb) << 20}
	l.t, l.dir = t, pgtest.TempDir(t)
	l.archive = filepath.Join(l.dir, "archive")
	l.Cluster = pgtest.New(t, pgtest.Options{SegmentMB: mb, Conf: []string{
		"archive_mode = on", "archive_command = 'cp %p " + l.archive + "/%f.new && mv " + l.archive + "/%f.new " + l.archive + "/%f'",
		"restore_command = 'cp " + l.archive + "/%f %p'",
		"max_prepared_transactions = 5", "wal_buffers = 256kB", "wal_keep_size = 2GB", "max_wal_size = 4GB",
	}})
	l.must("mkdir", l.archive)
	return l
}

func (l *log) test() {
	l.write()
	l.crash()
	first := l.first()
	old := l.segments(1, first, l.size.LastNumber(l.archived()))
	l.compare(old, l.walk(old))
	l.branchOff()
	l.write()
	last := l.size.LastNumber(l.archived())
	fork := l.size.Number(l.fork())
	own := l.segments(2, fork, last)
	all := l.walk(append(l.segments(1, first, fork-1), own...))
	l.compareServer(all)
	l.compare(own, all)
}

// write writes WAL of all kinds.
func (l *log) write() {
	l.t.Helper()
	l.must("pgbench", "-i", "-q", "-s", "1")
	l.must("pgbench", "-n", "-c", "2", "-t", "300")
	l.end("pg_create_restore_point('before the change')")
	l.SQL("CREATE TABLE IF NOT EXISTS t (a int)")
	l.SQL("BEGIN; INSERT INTO t SELECT generate_series(1, 100); SAVEPOINT s; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'one'")
	l.SQL("BEGIN; INSERT INTO t VALUES (2); PREPARE TRANSACTION 'two'")
	l.SQL("COMMIT PREPARED 'one'")
	l.SQL("ROLLBACK PREPARED 'two'")
	l.SQL("BEGIN; INSERT INTO t VALUES (3); ROLLBACK")
	for _, size := range []int64{1, 8000, 8192, 100000, int64(l.size), int64(l.size) * 5 / 2} {
		l.end(fmt.Sprintf("pg_logical_emit_message(false, 'a prefix', repeat('x', %d))", size))
	}
	l.must("pgbench", "-n", "-c", "2", "-t", "300")
}

// end remembers where the record ends that a function writes.
func (l *log) end(function string) {
	l.t.Helper()
	at, err := wal.ParseLSN(l.SQL("SELECT " + function))
	must(l.t, err)
	l.ends = append(l.ends, at)
}

// crash has the server be killed in the midst of a record.
func (l *log) crash() {
	l.t.Helper()
	segments := func() int {
		all, err := filepath.Glob(filepath.Join(l.Data, "pg_wal", "0000*"))
		must(l.t, err)
		return len(all)
	}
	l.SQL("SELECT pg_switch_wal()")
	there := segments()
	cmd := l.command("psql", "-XAtqc", fmt.Sprintf("SELECT pg_logical_emit_message(false, 'unfinished', repeat('x', %d))", max(200<<20, 10*l.size)))
	must(l.t, cmd.Start())
	for deadline := time.Now().Add(patience); segments() < there+3; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatal("nothing is written")
		}
	}
	l.Kill()
	cmd.Wait()
	l.Start()
	l.SQL("INSERT INTO t VALUES (4)")
}

// archived ends the current segment, waits until it is in the archive, and
// returns where its log ends.
func (l *log) archived() wal.LSN {
	l.t.Helper()
	at, err := wal.ParseLSN(l.SQL("SELECT pg_switch_wal()"))
	must(l.t, err)
	l.ends = append(l.ends, at)
	l.Until("SELECT last_archived_wal >= pg_walfile_name('"+at.String()+"') FROM pg_stat_archiver", "t")
	return at
}

// branchOff begins timeline 2.
func (l *log) branchOff() {
	l.t.Helper()
	l.Stop("fast")
	l.must("touch", filepath.Join(l.Data, "recovery.signal"))
	l.Start()
	l.Until("SELECT pg_is_in_recovery()", "f")
}

func (l *log) fork() wal.LSN {
	l.t.Helper()
	b, err := os.ReadFile(filepath.Join(l.archive, "00000002.history"))
	must(l.t, err)
	h, err := wal.ParseHistory(2, b)
	must(l.t, err)
	return h[0].At
}

// first is the number of the first segment that was archived. Those that initdb
// has filled are not.
func (l *log) first() uint64 {
	l.t.Helper()
	all, err := filepath.Glob(filepath.Join(l.archive, "0000*"))
	must(l.t, err)
	n, err := wal.ParseName(filepath.Base(slices.Min(all)))
	must(l.t, err)
	number, err := l.size.Split(n)
	must(l.t, err)
	return number
}

func (l *log) segments(tli wal.Timeline, first, last uint64) []string {
	l.t.Helper()
	var all []string
	for n := first; n <= last; n++ {
		all = append(all, l.size.Name(tli, n))
	}
	return all
}

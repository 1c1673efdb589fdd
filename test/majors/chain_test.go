package majors

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/wal"
	"pgpipes/test/pgtest"
)

// TestChain has every major write WAL of all kinds, walks through what it has
// archived, and compares with what the server and pg_waldump say of it.
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
	before := l.archived()
	l.compareDump(l.walk(l.segments(1, first, l.size.LastNumber(before))))
	l.branchOff()
	l.write()
	last := l.archived()
	fork := l.fork()
	line := append(l.segments(1, first, l.size.Number(fork)-1), l.segments(2, l.size.Number(fork), l.size.LastNumber(last))...)
	after := l.walk(line)
	l.compareServer(after)
	l.compareDump(after)
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

// A walked log is what a walk along a line of segments has met.
type walked struct {
	segments []string
	records  map[wal.LSN]wal.Record
	moments  map[wal.LSN]wal.Moment
}

func (l *log) walk(segments []string) walked {
	l.t.Helper()
	all := walked{segments, map[wal.LSN]wal.Record{}, map[wal.LSN]wal.Moment{}}
	listener := wal.Listener{
		Record: func(r wal.Record) { all.records[r.At] = r },
		Moment: func(m wal.Moment) { all.moments[m.At] = m },
	}
	chain := wal.Chain{Listener: listener}
	for _, segment := range segments {
		n, err := wal.ParseName(segment)
		must(l.t, err)
		b, err := os.ReadFile(filepath.Join(l.archive, segment))
		must(l.t, err)
		w := wal.NewWalk(n)
		w.Listener = listener
		if _, err := w.Write(b); err != nil {
			l.t.Fatal(err)
		}
		link, err := w.End()
		must(l.t, err)
		must(l.t, chain.Add(link))
	}
	l.t.Logf("%d segments, %d records, %d moments", len(segments), len(all.records), len(all.moments))
	return all
}

// compareServer looks for what the server has said that it has written.
func (l *log) compareServer(all walked) {
	l.t.Helper()
	known, overwritten := map[wal.LSN]bool{}, 0
	for _, r := range all.records {
		known[r.Prev] = true
		if r.Manager == 0 && r.Info == 0xD0 {
			overwritten++
		}
	}
	for at := range all.records {
		if !known[at] && at != slices.Max(slices.Collect(maps.Keys(all.records))) {
			l.t.Errorf("no record follows that at %s", at)
		}
	}
	if overwritten == 0 {
		l.t.Error("the crash has left no unfinished record")
	}
	for _, end := range l.ends {
		if !l.endsAt(all, end) {
			l.t.Errorf("no record ends at %s", end)
		}
	}
	kinds := map[wal.MomentKind]int{}
	for _, m := range all.moments {
		kinds[m.Kind]++
		if since := time.Since(m.Time); since < 0 || since > time.Hour || (m.Kind == wal.RestorePoint) != (m.Name == "before the change") {
			l.t.Errorf("%+v", m)
		}
	}
	if kinds[wal.RestorePoint] != 2 || kinds[wal.Commit] < 1200 || kinds[wal.Abort] < 4 {
		l.t.Errorf("moments: %v", kinds)
	}
}

// endsAt reports whether a record ends at a place, or just before the header of
// the page that begins there.
func (l *log) endsAt(all walked, end wal.LSN) bool {
	for at, r := range all.records {
		if at < end && end-at <= wal.LSN(r.Length)*8192/8100+64 {
			if next := l.after(at, r.Length); next == end || next == (end+7)&^7 {
				return true
			}
		}
	}
	return false
}

// after is the place so many bytes of records later.
func (l *log) after(at wal.LSN, length uint32) wal.LSN {
	for left := wal.LSN(length+7) &^ 7; ; {
		room := 8192 - at%8192
		if left <= room {
			return at + left
		}
		left -= room
		at += room + 24
		if (at-24)%wal.LSN(l.size) == 0 {
			at += 16
		}
	}
}

// compareDump compares with what PostgreSQL's own program sees, where it is
// there: packages of npm do not have it.
func (l *log) compareDump(all walked) {
	l.t.Helper()
	if l.Major() != 15 {
		return
	}
	seen := map[wal.LSN]bool{}
	for _, tli := range []wal.Timeline{1, 2} {
		of := slices.DeleteFunc(slices.Clone(all.segments), func(s string) bool { return !strings.HasPrefix(s, tli.String()) })
		if len(of) > 0 {
			l.dump(of, all, seen)
		}
	}
	for at := range all.records {
		if !seen[at] {
			l.t.Errorf("pg_waldump does not know the record at %s", at)
		}
	}
}

// dumped is a line of pg_waldump's: the length without and with images of pages,
// the place, and what it is.
var dumped = regexp.MustCompile(`len \(rec/tot\): +\d+/ *(\d+), .* lsn: ([0-9A-F/]+), prev [0-9A-F/]+, desc: (.*)`)

// dump compares a run of segments of one timeline. It does not follow history;
// what crosses a border to the next timeline comes again.
func (l *log) dump(of []string, all walked, seen map[wal.LSN]bool) {
	l.t.Helper()
	out, _ := l.command("pg_waldump", "-p", l.archive, of[0], of[len(of)-1]).Output() // fails where the log ends
	scan := bufio.NewScanner(bytes.NewReader(out))
	scan.Buffer(nil, 1<<30)
	for scan.Scan() {
		part := dumped.FindStringSubmatch(scan.Text())
		if part == nil {
			l.t.Fatalf("pg_waldump: %.200s", scan.Text())
		}
		at, err := wal.ParseLSN(part[2])
		must(l.t, err)
		seen[at] = true
		if r := all.records[at]; fmt.Sprint(r.Length) != part[1] {
			l.t.Errorf("pg_waldump: %.200s; we have %+v", scan.Text(), r)
		}
		if m, told := all.moments[at]; told && !strings.Contains(part[3], m.Name+m.Time.Format("2006-01-02 15:04:05.999999 UTC")[:20]) && m.Name == "" {
			l.t.Errorf("pg_waldump: %.200s; we have %+v", scan.Text(), m)
		}
	}
	must(l.t, scan.Err())
}

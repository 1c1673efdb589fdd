package majors

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"pgpipes/lib/wal"
)

// A walked log is what a walk along a line of segments has met.
type walked struct {
	records map[wal.LSN]wal.Record
	moments map[wal.LSN]wal.Moment
}

func (l *log) walk(segments []string) walked {
	l.t.Helper()
	all := walked{map[wal.LSN]wal.Record{}, map[wal.LSN]wal.Moment{}}
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

// A seen record is one as PostgreSQL's own reader describes it.
type seen struct {
	length uint32
	what   string
}

// stamp is a time in UTC as the server writes it.
var stamp = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?`)

// agrees compares names of restore points, and times of transactions.
func (s seen) agrees(m wal.Moment) bool {
	if m.Kind == wal.RestorePoint {
		return strings.TrimSpace(strings.TrimPrefix(s.what, "RESTORE_POINT")) == m.Name
	}
	at, err := time.Parse(time.DateTime, stamp.FindString(s.what))
	return err == nil && at.Equal(m.Time)
}

// compare compares segments of one timeline with what PostgreSQL's own reader
// sees in them: pg_waldump of 15, which packages of npm do not have, and the
// extension pg_walinspect, which there is from 15 on. With 13 and 14 there are
// the places that the server tells, see compareServer.
func (l *log) compare(segments []string, all walked) {
	l.t.Helper()
	var readers []func(from, to string) map[wal.LSN]seen
	if l.Major() == 15 {
		readers = append(readers, l.dump)
	}
	if l.Major() >= 15 {
		readers = append(readers, l.inspect)
	}
	for _, read := range readers {
		theirs := read(segments[0], segments[len(segments)-1])
		for at, s := range theirs {
			if r := all.records[at]; r.Length != s.length {
				l.t.Errorf("at %s there are %d bytes of %.100s; we have %+v", at, s.length, s.what, r)
			}
			if m, told := all.moments[at]; told && !s.agrees(m) {
				l.t.Errorf("at %s there is %.100s; we have %+v", at, s.what, m)
			}
		}
		first := slices.Min(slices.Collect(maps.Keys(theirs)))
		for at := range all.records {
			if _, there := theirs[at]; at >= first && !there {
				l.t.Errorf("PostgreSQL does not know of the record at %s", at)
			}
		}
		l.t.Logf("%d records compared", len(theirs))
	}
}

// dumped is a line of pg_waldump's: the length with images of pages, the place,
// and what it is.
var dumped = regexp.MustCompile(`len \(rec/tot\): +\d+/ *(\d+), .* lsn: ([0-9A-F/]+), prev [0-9A-F/]+, desc: (.*)`)

func (l *log) dump(from, to string) map[wal.LSN]seen {
	l.t.Helper()
	out, _ := l.command("pg_waldump", "-p", l.archive, from, to).Output() // fails where the log ends
	all := map[wal.LSN]seen{}
	for line := range bytes.Lines(out) {
		part := dumped.FindSubmatch(line[:min(len(line), 500)])
		if part == nil {
			l.t.Fatalf("pg_waldump: %.200s", line)
		}
		l.see(all, string(part[2]), string(part[1]), string(part[3]))
	}
	return all
}

func (l *log) inspect(from, to string) map[wal.LSN]seen {
	l.t.Helper()
	l.SQL("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
	start, end := l.start(from), l.start(to)+wal.LSN(l.size)
	all := map[wal.LSN]seen{}
	for line := range strings.Lines(l.SQL(fmt.Sprintf(`SELECT start_lsn, record_length, left(description, 100)
		FROM pg_get_wal_records_info('%s', least('%s', pg_current_wal_flush_lsn()))`, start, end))) {
		part := strings.SplitN(strings.TrimSuffix(line, "\n"), "|", 3)
		l.see(all, part[0], part[1], part[2])
	}
	return all
}

func (l *log) see(all map[wal.LSN]seen, at, length, what string) {
	l.t.Helper()
	place, err := wal.ParseLSN(at)
	must(l.t, err)
	n, err := strconv.ParseUint(length, 10, 32)
	must(l.t, err)
	all[place] = seen{uint32(n), what}
}

func (l *log) start(segment string) wal.LSN {
	l.t.Helper()
	n, err := wal.ParseName(segment)
	must(l.t, err)
	number, err := l.size.Split(n)
	must(l.t, err)
	return l.size.Start(number)
}

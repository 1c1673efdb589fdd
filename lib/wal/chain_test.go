package wal_test

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
)

const mib = 1 << 20

// pg_waldump lists the records of the fixtures of 15 as they are in its output:
// place, length, and what happened when.
func TestChainGolden(t *testing.T) {
	want, err := os.ReadFile(filepath.Join("testdata", "log-15", "pg_waldump"))
	if err != nil {
		t.Fatal(err)
	}
	var h heard
	if err := chain(t, line(t, "log-15"), h.listener()); err != nil {
		t.Fatal(err)
	}
	if got := h.String(); got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// String lists the records like the golden file.
func (h *heard) String() string {
	what := map[wal.LSN]string{}
	for _, m := range h.moments {
		kind := map[wal.MomentKind]string{wal.Commit: "commit ", wal.Abort: "abort ", wal.RestorePoint: "restore point "}[m.Kind]
		what[m.At] = kind + cmp.Or(m.Name, m.Time.Format("2006-01-02T15:04:05.000000Z"))
	}
	slices.SortFunc(h.records, func(a, b wal.Record) int { return cmp.Compare(a.At, b.At) })
	var text strings.Builder
	for _, r := range h.records {
		text.WriteString(strings.TrimSpace(fmt.Sprintf("%s\t%d\t%s", r.At, r.Length, what[r.At])) + "\n")
	}
	return text.String()
}

// A chain may begin anywhere, also in the midst of a record.
func TestChainBeginsAnywhere(t *testing.T) {
	for _, dir := range []string{"log-15", "log-18"} {
		segments := line(t, dir)
		for len(segments) > 0 {
			if err := chain(t, segments, wal.Listener{}); err != nil {
				t.Errorf("%s, %d segments: %v", dir, len(segments), err)
			}
			delete(segments, first(segments))
		}
	}
}

func first(segments map[string][]byte) string {
	var names []string
	for name := range segments {
		names = append(names, name)
	}
	return slices.MinFunc(names, byNumber)
}

// A partial segment ends where the next timeline begins.
func TestPartial(t *testing.T) {
	for dir, name := range map[string]string{"log-15": "000000010000000000000015.partial", "log-18": "00000001000000000000001A.partial"} {
		text, err := os.ReadFile(filepath.Join("testdata", dir, "00000002.history"))
		if err != nil {
			t.Fatal(err)
		}
		history, err := wal.ParseHistory(2, text)
		if err != nil {
			t.Fatal(err)
		}
		link, err := walk(t, name, unzip(t, filepath.Join("testdata", dir, name+".gz")), 1000, wal.Listener{})
		if err != nil || link.End != history[0].At {
			t.Errorf("%s: it ends at %s, %v; the timeline ended at %s", name, link.End, err, history[0].At)
		}
	}
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// Wherever a border cuts a record, its header too, it is joined and told of.
func TestChainCutsAnywhere(t *testing.T) {
	for before := 0; before <= 200; before += 8 {
		l := fixture.NewLog(1, mib, 1)
		l.FillTo(2*mib - wal.LSN(before))
		at := l.Commit(noon)
		l.Message(9000)
		l.Message(mib)
		l.Message(3 * mib)
		point := l.RestorePoint(noon.Add(time.Second), "a name")
		l.Switch()
		var h heard
		if err := chain(t, l.Segments, h.listener()); err != nil {
			t.Errorf("cut after %d bytes: %v", before, err)
		}
		want := []wal.Moment{{At: at, Time: noon, Kind: wal.Commit}, {At: point, Time: noon.Add(time.Second), Kind: wal.RestorePoint, Name: "a name"}}
		if !slices.Equal(h.moments, want) {
			t.Errorf("cut after %d bytes: %v, want %v", before, h.moments, want)
		}
	}
}

// A switch that crosses a border ends the segment it ends in.
func TestChainSwitchAcrossBorder(t *testing.T) {
	for _, before := range []wal.LSN{8, 16, 24, 32} {
		l := fixture.NewLog(1, mib, 1)
		l.FillTo(2*mib - before)
		l.Switch()
		l.Commit(noon)
		l.Switch()
		if err := chain(t, l.Segments, wal.Listener{}); err != nil {
			t.Errorf("%d bytes before the border: %v", before, err)
		}
	}
}

// Only a switch ends the log in the midst of a segment.
func TestChainNoSwitchAcrossBorder(t *testing.T) {
	l := fixture.NewLog(1, mib, 1)
	l.FillTo(2*mib - 40)
	data := make([]byte, 30)
	data[22], data[23] = 0x40, 0 // eight bytes before the end, where a switch has its kind
	l.Raw(21, 0, data)
	for len(l.Segments) < 3 { // nothing follows in the second segment
		l.At = 3 * mib
		l.Commit(noon)
	}
	l.Switch()
	if err := chain(t, l.Segments, wal.Listener{}); !errors.Is(err, wal.ErrRecord) {
		t.Errorf("%v", err)
	}
}

// An unfinished record is passed over if what follows names it.
func TestChainTorn(t *testing.T) {
	for _, test := range []struct {
		name          string
		before, whole int
	}{
		{"within a segment", 100000, 20000},
		{"in the first page of the next", 5000, 10000},
		{"later in the next", 5000, 50000},
		{"after more than a segment", 5000, mib + 50000},
		{"its header is cut by the border", 8, 5000},
		{"its header is cut by a page", mib - 8192 + 8, 5000},
		{"it is the first of the segment", mib + 0, 20000},
	} {
		l := fixture.NewLog(1, mib, 1)
		l.FillTo(wal.LSN(2*mib - test.before%mib))
		torn := l.Tear(test.whole)
		l.Commit(noon)
		l.Switch()
		var h heard
		if err := chain(t, l.Segments, h.listener()); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if len(h.moments) != 1 || slices.ContainsFunc(h.records, func(r wal.Record) bool { return r.At == torn }) {
			t.Errorf("%s: %v", test.name, h)
		}
	}
}

// Fixtures that are made one by one join, too.
func TestChainOfFixtures(t *testing.T) {
	segments := map[string][]byte{}
	for i, name := range []string{"000000010000000000000FFE", "000000010000000000000FFF", "000000020000000100000000"} {
		segments[name] = fixture.Segment{Name: name, Commit: noon.Add(time.Duration(i) * time.Minute)}.Bytes()
	}
	var h heard
	if err := chain(t, segments, h.listener()); err != nil || len(h.moments) != 3 || !h.moments[2].Time.Equal(noon.Add(2*time.Minute)) {
		t.Errorf("%v, %v", h.moments, err)
	}
}

// A timeline goes on where its parent was left.
func TestChainBranch(t *testing.T) {
	for _, at := range []wal.LSN{2*mib - 5000, 2*mib - 8192, 2 * mib} {
		l := fixture.NewLog(1, mib, 1)
		l.FillTo(at)
		l.Branch(3)
		l.Commit(noon)
		l.FillTo(3*mib - 100)
		l.Message(1000)
		l.Switch()
		if at < 2*mib {
			delete(l.Segments, "000000010000000000000001")
		}
		if err := chain(t, l.Segments, wal.Listener{}); err != nil {
			t.Errorf("at %s: %v", at, err)
		}
	}
}

// pair walks through the first segment of one log and the second of another.
func pair(t *testing.T, a, b *fixture.Log) error {
	t.Helper()
	const one, two = "00000000000000001", "00000000000000002"
	segments := map[string][]byte{}
	for name, contents := range a.Segments {
		if strings.HasSuffix(name, one[8:]) {
			segments[name] = contents
		}
	}
	for name, contents := range b.Segments {
		if strings.HasSuffix(name, two[8:]) {
			segments[name] = contents
		}
	}
	if len(segments) != 2 {
		t.Fatalf("%d segments", len(segments))
	}
	return chain(t, segments, wal.Listener{})
}

// logged makes a log from segment 1 on.
func logged(write func(l *fixture.Log)) *fixture.Log {
	l := fixture.NewLog(1, mib, 1)
	write(l)
	l.Switch()
	return l
}

// What does not fit together is refused.
func TestChainRefuses(t *testing.T) {
	crossing := func(at wal.LSN, length int) *fixture.Log {
		return logged(func(l *fixture.Log) { l.FillTo(2*mib - at); l.Message(length) })
	}
	torn := func(at wal.LSN) *fixture.Log {
		return logged(func(l *fixture.Log) { l.FillTo(2*mib - at); l.Tear(10000) })
	}
	whole := logged(func(l *fixture.Log) { l.FillTo(2 * mib); l.Commit(noon) })
	afterSwitch := logged(func(l *fixture.Log) { l.FillTo(2*mib - 8); l.Raw(0, 0x40, nil); l.Commit(noon) })
	for _, test := range []struct {
		name string
		a, b *fixture.Log
		want string
	}{
		{"no rest", crossing(1000, 5000), whole, "000000010000000000000002: page at 0/200000: it does not go on with the record at 0/1FFC18, of which 4000 bytes are missing"},
		{"a rest of nothing", whole, crossing(1000, 5000), "page at 0/200000: it goes on with a record, but 000000010000000000000001 ends with a whole one"},
		{"a shorter rest", crossing(1000, 5000), crossing(1008, 5000), "it has 3992 bytes of the record at 0/1FFC18, of which 4000 are missing"},
		{"another rest", crossing(1000, 5000), crossing(1008, 5008), "000000010000000000000001: record at 0/1FFC18: the CRC is wrong, it goes on in 000000010000000000000002"},
		{"another record before, in the part of a header", crossing(8, 5000), logged(func(l *fixture.Log) { l.FillTo(2*mib - 5000); l.Message(4992); l.Message(5000) }), "record at 0/1FFFF8: it follows the record at"},
		{"a place taken of nothing", whole, torn(1000), "ends with a whole one"},
		{"a place taken of another", torn(1000), torn(2000), "page at 0/200000: it takes the place of the record at 0/1FF830, but that at 0/1FFC18 is unfinished"},
		{"a record after another", whole, logged(func(l *fixture.Log) { l.FillTo(2*mib - 64); l.Message(64); l.Commit(noon) }), "000000010000000000000002: record at 0/200028: it follows the record at 0/1FFFC0, not that at"},
		{"pg_resetwal", whole, logged(func(l *fixture.Log) { l.FillTo(2 * mib); l.Prev = 0; l.Commit(noon) }), "it follows no record, as after pg_resetwal"},
		{"an older timeline", logged(func(l *fixture.Log) { l.Branch(2); l.FillTo(2 * mib) }), whole, "page at 0/200000: timeline 1 after 2"},
		{"records after a switch", afterSwitch, afterSwitch, "record at 0/1FFFF8: only a switch of segments ends the log"},
	} {
		if err := pair(t, test.a, test.b); !errors.Is(err, wal.ErrRecord) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

// Segments that are not neighbours are refused, and the chain begins anew.
func TestChainBeginsAnew(t *testing.T) {
	segments := line(t, "log-15")
	other := line(t, "log-18")
	for _, test := range []struct {
		name string
		from map[string][]byte
		want string
	}{
		{"000000010000000000000009", segments, "page at 0/900000: 000000010000000000000007 ends at 0/800000"},
		{"000000010000000000000007", segments, "page at 0/700000: 000000010000000000000007 ends at 0/800000"},
		{"00000001000000000000000A", other, "it is of the cluster"},
	} {
		var c wal.Chain
		link, err := walk(t, "000000010000000000000007", segments["000000010000000000000007"], mib, wal.Listener{})
		if err := errors.Join(err, c.Add(link)); err != nil {
			t.Fatal(err)
		}
		link, err = walk(t, test.name, test.from[test.name], mib, wal.Listener{})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Add(link); !errors.Is(err, wal.ErrRecord) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
		next, err := walk(t, successor(test.name), test.from[successor(test.name)], mib, wal.Listener{})
		if err := errors.Join(err, c.Add(next)); err != nil {
			t.Errorf("after an error: %v", err)
		}
	}
}

func successor(name string) string {
	n, _ := wal.ParseName(name)
	number, _ := wal.SegmentSize(mib).Split(n)
	return wal.SegmentSize(mib).Name(n.Timeline, number+1)
}

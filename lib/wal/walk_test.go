package wal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
)

// page is the size of a page of the log.
const page = 8192

// What is read does not depend on how the bytes come.
func TestWalkInPieces(t *testing.T) {
	b := line(t, "log-18")["000000010000000000000009"]
	var want heard
	if _, err := walk(t, "000000010000000000000009", b, mib, want.listener()); err != nil || len(want.records) == 0 {
		t.Fatal(len(want.records), err)
	}
	for _, piece := range []int{1, 7, 39, 40, 41, 8191, 8192, 8193, 100000} {
		var got heard
		if _, err := walk(t, "000000010000000000000009", b, piece, got.listener()); err != nil {
			t.Error(err)
		}
		if !slices.Equal(got.records, want.records) || !slices.Equal(got.moments, want.moments) {
			t.Errorf("in pieces of %d: %d records, want %d", piece, len(got.records), len(want.records))
		}
	}
}

// put writes a number of two, four or eight bytes.
func put(at int, value any) func([]byte) {
	return func(b []byte) {
		if _, err := binary.Encode(b[at:], binary.LittleEndian, value); err != nil {
			panic(err)
		}
	}
}

// What is wrong in a segment is found and named.
func TestWalkRefuses(t *testing.T) {
	const name = "000000010000000000000001"
	l := fixture.NewLog(1, mib, 1)
	l.Message(100)
	second := int(l.Message(100) - mib)
	l.Message(5001) // one that needs padding
	padded := int(l.At - mib)
	crossing := int(l.Message(9000) - mib)
	l.FillTo(2 * mib)
	good := l.Segments[name]
	for _, test := range []struct {
		what   string
		change func(b []byte)
		want   string
	}{
		{"magic", put(page, uint16(0xD113)), "page at 0/102000: magic 0xD113, that of the first page is 0xD110"},
		{"unknown bits", put(page+2, uint16(0x0011)), "page at 0/102000: unknown bits in info 0x0011"},
		{"a long header", put(page+2, uint16(0x0003)), "page at 0/102000: a header of the wrong length"},
		{"no timeline", put(page+4, uint32(0)), "page at 0/102000: timeline 0 after 1"},
		{"a later timeline", put(page+4, uint32(2)), "page at 0/102000: timeline 2 after 1, in a segment of 1"},
		{"address", put(page+8, uint64(0x202000)), "page at 0/102000: it says that it is the page at 0/202000"},
		{"rest", put(page+16, uint32(1)), "page at 0/102000: it has 1 bytes of a record of which"},
		{"no rest", put(page+16, uint32(0)), "page at 0/102000: info 0x0001 does not go with 0 bytes"},
		{"does not go on", put(page+2, uint16(0)), "page at 0/102000: info 0x0000 does not go with"},
		{"both", put(page+2, uint16(9)), "page at 0/102000: info 0x0009 does not go with"},
		{"padding of a page", put(page+20, uint32(1)), "page at 0/102000: the padding of the header is not zero"},
		{"a page of zeros", func(b []byte) { clear(b[page : 2*page]) }, "page at 0/102000: magic 0x0000"},
		{"the whole rest", func(b []byte) { clear(b[page:]) }, "page at 0/102000: magic 0x0000"},
		{"first rest", put(16, uint32(1)), "page at 0/100000: info 0x0002 does not go with 1 bytes"},
		{"first bits", put(2, uint16(0x12)), "page at 0/100000: unknown bits in info 0x0012"},
		{"no record", put(second, uint32(0)), "record at 0/100090: the log ends here, without a switch of segments"},
		{"length", put(second, uint32(23)), "record at 0/100090: impossible length 23"},
		{"length", put(second, uint32(1<<30)), "record at 0/100090: impossible length 1073741824"},
		{"manager", put(second+17, uint8(22)), "record at 0/100090: unknown resource manager 22"},
		{"link", put(second+8, uint64(mib+41)), "record at 0/100090: it follows the record at 0/100029, not that at 0/100028"},
		{"link", put(second+8, uint64(0)), "record at 0/100090: it follows no record, as after pg_resetwal"},
		{"first link", put(48, uint64(mib+40)), "record at 0/100028: it follows the record at 0/100028"},
		{"CRC", put(second+20, uint32(1)), "record at 0/100090: the CRC is wrong"},
		{"data", put(second+99, uint8(1)), "record at 0/100090: the CRC is wrong"},
		{"padding", put(padded-1, uint8(1)), "record at 0/1000F8: the padding after it is not zero"},
		{"data beyond the page", put(page+100, uint8(1)), "the CRC is wrong"},
	} {
		b := bytes.Clone(good)
		test.change(b)
		_, err := walk(t, name, b, mib, wal.Listener{})
		if !errors.Is(err, wal.ErrRecord) || !strings.HasPrefix(err.Error(), name+": ") || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.what, err, test.want)
		}
		var damage *wal.Damage
		if !errors.As(err, &damage) || !strings.Contains(err.Error(), damage.At.String()) {
			t.Errorf("%s: %v is not a Damage", test.what, err)
		}
	}
	if crossing > page {
		t.Error("the record crosses no page")
	}
}

// Files that are no segments at all are refused too.
func TestWalkRefusesFiles(t *testing.T) {
	const name = "000000010000000000000001"
	l := fixture.NewLog(1, mib, 1)
	l.Switch()
	good := l.Segments[name]
	for _, test := range []struct {
		name string
		b    []byte
		is   error
		want string
	}{
		{name, nil, wal.ErrHeader, "0 bytes"},
		{name, good[:39], wal.ErrHeader, "39 bytes"},
		{name, make([]byte, mib), wal.ErrHeader, "all zeros"},
		{name, good[:40], wal.ErrRecord, "the file ends here, 1048536 bytes too early"},
		{name, good[:mib-1], wal.ErrRecord, "the file ends here, 1 bytes too early"},
		{name, good[:mib-8192], wal.ErrRecord, "the file ends here, 8192 bytes too early"},
		{name, append(bytes.Clone(good), 0), wal.ErrRecord, "the file goes on"},
		{name, append(bytes.Clone(good), good...), wal.ErrRecord, "the file goes on"},
		{"000000010000000000000002", good, wal.ErrMismatch, "begins at 0/200000"},
		{"00000002.history", good, wal.ErrMismatch, "not a segment"},
	} {
		for _, piece := range []int{1000, mib} {
			_, err := walk(t, test.name, test.b, piece, wal.Listener{})
			if !errors.Is(err, test.is) || !strings.HasPrefix(err.Error(), test.name) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s, %d bytes: %v, want %q", test.name, len(test.b), err, test.want)
			}
		}
	}
}

// What lies after a switch does not matter.
func TestWalkRemainsAfterSwitch(t *testing.T) {
	l := fixture.NewLog(1, mib, 1)
	l.Commit(noon)
	end := l.Switch() + 24
	for name, b := range l.Segments {
		for i := int(end - mib); i < len(b); i++ {
			b[i] = byte(i)
		}
		if _, err := walk(t, name, b, mib, wal.Listener{}); err != nil {
			t.Error(err)
		}
	}
}

// A partial segment ends at the first thing that cannot be read.
func TestWalkPartial(t *testing.T) {
	l := fixture.NewLog(1, mib, 1)
	l.FillTo(mib + 20000)
	inPage := l.At
	l.Message(100)
	l.FillTo(mib + 3*8192)
	atPage := l.At
	l.Message(9000)
	whole := l.At
	b := l.Segments["000000010000000000000001"]
	for _, test := range []struct {
		from int
		want wal.LSN
	}{
		{mib, whole}, {int(inPage) - mib, inPage}, {int(atPage) - mib, atPage}, {40, mib}, {8192 * 4, atPage},
	} {
		for _, rest := range []byte{0, 0xff} {
			cut := bytes.Clone(b)
			for i := range cut[min(test.from, len(cut)):] {
				cut[test.from+i] = rest
			}
			link, err := walk(t, "000000010000000000000001.partial", cut, 5000, wal.Listener{})
			if err != nil || link.End != test.want {
				t.Errorf("from %d on %d: it ends at %s, %v, want %s", test.from, rest, link.End, err, test.want)
			}
		}
	}
}

// Every bit that is flipped in the records of a segment is found, there or when
// it is joined to its neighbours. What cannot be: the bit of a page that tells
// of backups, the data of a record that was never finished, and what follows a
// switch.
func TestEveryBitCounts(t *testing.T) {
	segments := line(t, "log-15")
	links := map[string]wal.Link{}
	for name, b := range segments {
		var err error
		if links[name], err = walk(t, name, b, mib, wal.Listener{}); err != nil {
			t.Fatal(err)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, test := range []struct {
		name       string
		used       int
		unfinished int // where a record begins of which only the pages can be checked
	}{
		{"000000010000000000000007", 0x56F0 + 24, mib}, // many records
		{"00000001000000000000000A", mib, 0x643A0},     // the rest of a long one
		{"000000020000000000000015", 0x180 + 24, mib},  // begins on the parent's timeline
	} {
		b := segments[test.name]
		try := func(at, bit int) {
			inHeader := at%page < 24
			if bit == 2 && at%page == 2 || at >= test.unfinished+4 && !inHeader {
				return
			}
			b[at] ^= 1 << bit
			if err := replaced(t, links, test.name, b); err == nil {
				t.Errorf("%s: bit %d of byte %#x is flipped and nobody sees it", test.name, bit, at)
			}
			b[at] ^= 1 << bit
		}
		for at := range test.used {
			for bit := range 8 {
				if at < 0x200 || at%page < 24 && random.IntN(8) == 0 || random.IntN(test.used) < 100 {
					try(at, bit)
				}
			}
		}
	}
}

// replaced joins the links of a log in which one segment is another.
func replaced(t *testing.T, links map[string]wal.Link, name string, b []byte) error {
	t.Helper()
	link, err := walk(t, name, b, len(b), wal.Listener{})
	if err != nil {
		return err
	}
	var c wal.Chain
	for _, other := range slices.SortedFunc(maps.Keys(links), byNumber) {
		l := links[other]
		if other == name {
			l = link
		}
		if err := c.Add(l); err != nil {
			return err
		}
	}
	return nil
}

// FuzzWalk: whatever the bytes are, a walk ends, and says what is wrong in the
// way that it promises.
func FuzzWalk(f *testing.F) {
	for _, dir := range []string{"log-15", "log-18"} {
		for name, b := range line(f, dir) {
			f.Add(b[:3*8192], name, 5000)
			f.Add(b[:500], name+".partial", 1)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, name string, piece int) {
		n, err := wal.ParseName(name)
		if err != nil || piece < 1 {
			return
		}
		if n.Kind == wal.Partial && len(b) >= wal.HeaderSize { // what is left is made up
			b = append(b, make([]byte, max(0, mib-len(b)))...)
		}
		link, err := walk(t, name, b, max(piece, len(b)/1000), wal.Listener{Moment: func(wal.Moment) {}})
		switch {
		case err == nil && (link.Name != n || len(b) != int(link.Header.SegmentSize)):
			t.Errorf("%d bytes are %s", len(b), link.Name)
		case err != nil && !errors.Is(err, wal.ErrRecord) && !errors.Is(err, wal.ErrHeader) && !errors.Is(err, wal.ErrMismatch):
			t.Errorf("%v is none of the errors that were promised", err)
		}
	})
}

// FuzzChain has logs of every form be read, and then with one bit flipped. Each
// byte of steps is something that is written.
func FuzzChain(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7}, uint32(1000))
	f.Add([]byte{9, 17, 4, 12, 20, 28, 3, 0, 0, 5, 1}, uint32(mib*8+100))
	f.Add([]byte("many steps of which all are different"), uint32(77777))
	f.Fuzz(func(t *testing.T, steps []byte, flip uint32) {
		l := fixture.NewLog(1, mib, 1)
		for i, step := range steps[:min(len(steps), 40)] {
			size := int(step>>3) * 37
			switch step % 8 {
			case 0:
				l.Commit(noon)
			case 1:
				l.FillTo((l.At/mib+1)*mib - wal.LSN(size&^7))
			case 2, 3:
				l.Message(32 + size)
			case 4:
				l.Message(32 + size*i*20)
			case 5:
				l.Switch()
			case 6:
				l.Tear(8192 + 32 + size*20)
			case 7:
				l.Branch(wal.Timeline(i + 2))
			}
			if int(l.At%mib) > mib-3000 && step%8 == 1 {
				l.Message(3000)
			}
		}
		l.Commit(noon)
		l.Switch()
		onLine(l)
		if err := chain(t, l.Segments, wal.Listener{}); err != nil {
			t.Fatal(err)
		}
		name := first(l.Segments)
		at := int(flip/8) % len(l.Segments[name])
		changed := broken(l.Segments, name, func(b []byte) { b[at] ^= 1 << (flip % 8) })
		if err := chain(t, changed, wal.Listener{}); err != nil && !errors.Is(err, wal.ErrRecord) && !errors.Is(err, wal.ErrHeader) && !errors.Is(err, wal.ErrMismatch) {
			t.Errorf("%v is none of the errors that were promised", err)
		}
	})
}

// onLine removes segments that a later timeline has a copy of.
func onLine(l *fixture.Log) {
	latest := map[string]string{}
	for name := range l.Segments {
		latest[name[8:]] = max(latest[name[8:]], name)
	}
	for name := range l.Segments {
		if latest[name[8:]] != name {
			delete(l.Segments, name)
		}
	}
}

// BenchmarkWalk reads 16 MiB of records of a size.
func BenchmarkWalk(b *testing.B) {
	for _, size := range []int{60, 100, 300, 2000, 8300} {
		b.Run(fmt.Sprintf("%d bytes", size), func(b *testing.B) {
			l := fixture.NewLog(1, 16*mib, 1)
			for l.At < 32*mib-20000 {
				l.Message(size)
			}
			l.FillTo(32 * mib)
			const name = "000000010000000000000001"
			n, err := wal.ParseName(name)
			if err != nil {
				b.Fatal(err)
			}
			contents := l.Segments[name]
			b.SetBytes(int64(len(contents)))
			b.ReportAllocs()
			for b.Loop() {
				w := wal.NewWalk(n)
				if _, err := w.Write(contents); err != nil {
					b.Fatal(err)
				}
				if _, err := w.End(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package wal

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fixture is the first 40 bytes of a page that PostgreSQL 15 wrote. The end of
// its file name is the name of the segment.
func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func segmentName(t *testing.T, fixture string) Name {
	t.Helper()
	n, err := ParseName(fixture[len(fixture)-24:])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestParseHeader(t *testing.T) {
	const sysid = 7710927775326629354
	for name, want := range map[string]Header{
		"ordinary-000000010000000000000003":           {0xD110, 7, 1, 0x3000000, sysid, 16 * mib, 8192},
		"partial-000000010000000000000006":            {0xD110, 6, 1, 0x6000000, sysid, 16 * mib, 8192},
		"parent-timeline-in-000000020000000000000006": {0xD110, 6, 1, 0x6000000, sysid, 16 * mib, 8192},
		"segments-of-1MiB-000000010000000000000006":   {0xD110, 7, 1, 0x600000, 7710928989073294645, 1 * mib, 8192},
	} {
		got, err := ParseHeader(fixture(t, name))
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, want)
		}
		if got.Major() != 15 {
			t.Errorf("%s: major release %d", name, got.Major())
		}
		if err := got.Check(segmentName(t, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMajor(t *testing.T) {
	for magic, want := range map[uint16]int{
		0xD101: 0, 0xD106: 13, 0xD10D: 14, 0xD110: 15, 0xD113: 16, 0xD116: 17, 0xD118: 18, 0xD119: 0, 0: 0, 0x10D1: 0,
	} {
		if got := (Header{Magic: magic}).Major(); got != want {
			t.Errorf("magic %04X is of release %d, want %d", magic, got, want)
		}
	}
}

func TestParseHeaderRefuses(t *testing.T) {
	good := fixture(t, "ordinary-000000010000000000000003")
	with := func(change func([]byte)) []byte {
		b := append([]byte(nil), good...)
		change(b)
		return b
	}
	put32 := func(at int, v uint32) []byte {
		return with(func(b []byte) { binary.LittleEndian.PutUint32(b[at:], v) })
	}
	for _, test := range []struct {
		name string
		in   []byte
		want string
	}{
		{"empty", nil, "0 bytes"},
		{"a byte short", good[:HeaderSize-1], "39 bytes"},
		{"zeros", make([]byte, HeaderSize), "all zeros"},
		{"zeros, longer", make([]byte, 8192), "all zeros"},
		{"gzip", with(func(b []byte) { b[0], b[1] = 0x1f, 0x8b }), "unknown magic 0x8B1F"},
		{"big-endian", with(func(b []byte) { b[0], b[1] = b[1], b[0] }), "unknown magic 0x10D1"},
		{"release 12", with(func(b []byte) { b[0] = 0x01 }), "unknown magic 0xD101"},
		{"second page", fixture(t, "second-page-of-000000010000000000000003"), "no long header"},
		{"segment size 0", put32(32, 0), "odd segment size 0,"},
		{"segment size 3 MiB", put32(32, 3*mib), "odd segment size 3145728"},
		{"segment size 2 GiB", put32(32, 2*gib), "odd segment size 2147483648"},
		{"block size 0", put32(36, 0), "odd block size 0,"},
		{"block size 8191", put32(36, 8191), "odd block size 8191"},
		{"block size 128 KiB", put32(36, 128<<10), "odd block size 131072"},
		{"timeline 0", put32(4, 0), "timeline 0"},
	} {
		_, err := ParseHeader(test.in)
		if !errors.Is(err, ErrHeader) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	h, err := ParseHeader(fixture(t, "ordinary-000000010000000000000003"))
	if err != nil {
		t.Fatal(err)
	}
	later := h
	later.Timeline = 3
	for _, test := range []struct {
		h    Header
		name string
		want string
	}{
		{h, "000000010000000000000004", "begins at 0/4000000, the header says 0/3000000 (segment 000000010000000000000003)"},
		{h, "000000010000000100000003", "begins at 1/3000000"},
		{h, "000000010000000000000103", "not the name of a WAL file with segments of 16777216 bytes"},
		{later, "000000020000000000000003", "later timeline 3"},
		{h, "000000010000000000000003.00000028.backup", "is not a segment"},
		{h, "00000002.history", "is not a segment"},
	} {
		n, err := ParseName(test.name)
		if err != nil {
			t.Fatal(err)
		}
		if err := test.h.Check(n); !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

func TestCheckAccepts(t *testing.T) {
	h, err := ParseHeader(fixture(t, "ordinary-000000010000000000000003"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"000000010000000000000003", "000000010000000000000003.partial",
		"000000020000000000000003", "0000000A0000000000000003.partial",
	} {
		n, err := ParseName(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Check(n); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseHeader(f *testing.F) {
	files, err := filepath.Glob("testdata/*-0*")
	if err != nil || len(files) == 0 {
		f.Fatal("no fixtures", err)
	}
	for _, file := range files {
		f.Add(fixture(f, filepath.Base(file)))
	}
	f.Add(make([]byte, HeaderSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if err != nil {
			if !errors.Is(err, ErrHeader) {
				t.Errorf("%v is not ErrHeader", err)
			}
			return
		}
		number := h.SegmentSize.Number(h.PageAddr)
		n, err := ParseName(h.SegmentSize.Name(h.Timeline, number))
		if err != nil {
			t.Fatal(err)
		}
		if ok := h.SegmentSize.Start(number) == h.PageAddr; (h.Check(n) == nil) != ok {
			t.Errorf("%+v against %s: %v", h, n, h.Check(n))
		}
	})
}

package wal

import "testing"

const (
	mib = 1 << 20
	gib = 1 << 30
)

func TestSegmentSizeValid(t *testing.T) {
	for s := SegmentSize(mib); s <= gib; s *= 2 {
		if !s.Valid() {
			t.Errorf("%d is not valid", s)
		}
	}
	for _, s := range []SegmentSize{-mib, -1 << 63, 0, 1, 8192, mib / 2, mib - 1, mib + 1, 3 * mib, 16*mib + 8192, 2 * gib, 1 << 62} {
		if s.Valid() {
			t.Errorf("%d is valid", s)
		}
	}
}

func TestSegmentNames(t *testing.T) {
	for _, test := range []struct {
		size   SegmentSize
		tli    Timeline
		number uint64
		start  LSN
		name   string
	}{
		{16 * mib, 1, 1, 0x1000000, "000000010000000000000001"},
		{16 * mib, 1, 0xFF, 0xFF000000, "0000000100000000000000FF"},
		{16 * mib, 1, 0x100, 0x100000000, "000000010000000100000000"},
		{16 * mib, 0xABCDEF01, 0xA65, 0xA65000000, "ABCDEF010000000A00000065"},
		{16 * mib, 1, 1<<40 - 1, 0xFFFFFFFFFF000000, "00000001FFFFFFFF000000FF"},
		{1 * mib, 2, 0xFFF, 0xFFF00000, "000000020000000000000FFF"},
		{1 * mib, 2, 0x1000, 0x100000000, "000000020000000100000000"},
		{64 * mib, 10, 0x3F, 0xFC000000, "0000000A000000000000003F"},
		{64 * mib, 10, 0x40, 0x100000000, "0000000A0000000100000000"},
		{1 * gib, 1, 3, 0xC0000000, "000000010000000000000003"},
		{1 * gib, 1, 4, 0x100000000, "000000010000000100000000"},
	} {
		if got := test.size.Name(test.tli, test.number); got != test.name {
			t.Errorf("size %d: segment %d is named %s, want %s", test.size, test.number, got, test.name)
		}
		if got := test.size.Start(test.number); got != test.start {
			t.Errorf("size %d: segment %d starts at %s, want %s", test.size, test.number, got, test.start)
		}
		name, err := ParseName(test.name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := test.size.Split(name); err != nil || got != test.number || name.Timeline != test.tli {
			t.Errorf("size %d: %s is segment %d of timeline %d, %v; want %d of %d",
				test.size, test.name, got, name.Timeline, err, test.number, test.tli)
		}
	}
}

func TestSplitOtherKinds(t *testing.T) {
	for name, want := range map[string]uint64{
		"0000000100000002000000A5.partial":         0x2A5,
		"0000000100000002000000A5.00000028.backup": 0x2A5,
	} {
		n, err := ParseName(name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := SegmentSize(16 * mib).Split(n); err != nil || got != want {
			t.Errorf("Split(%s) = %#x, %v; want %#x", name, got, err, want)
		}
	}
}

func TestSplitRefuses(t *testing.T) {
	for _, test := range []struct {
		size SegmentSize
		name string
	}{
		{16 * mib, "000000010000000000000100"},
		{16 * mib, "0000000100000000FFFFFFFF"},
		{1 * mib, "000000010000000000001000"},
		{64 * mib, "000000010000000000000040"},
		{1 * gib, "000000010000000000000004"},
		{16 * mib, "000000010000000000000100.partial"},
		{16 * mib, "00000002.history"},
	} {
		n, err := ParseName(test.name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := test.size.Split(n); err == nil {
			t.Errorf("size %d: %s is segment %d, want an error", test.size, test.name, got)
		}
	}
}

func TestNumberAtBoundaries(t *testing.T) {
	const s = SegmentSize(16 * mib)
	for _, test := range []struct {
		at           LSN
		number, last uint64
	}{
		{0, 0, 0},
		{1, 0, 0},
		{s.Start(1) - 1, 0, 0},
		{s.Start(1), 1, 0},
		{s.Start(1) + 1, 1, 1},
		{s.Start(256), 256, 255},
		{1<<64 - 1, 1<<40 - 1, 1<<40 - 1},
	} {
		if got := s.Number(test.at); got != test.number {
			t.Errorf("Number(%s) = %d, want %d", test.at, got, test.number)
		}
		if got := s.LastNumber(test.at); got != test.last {
			t.Errorf("LastNumber(%s) = %d, want %d", test.at, got, test.last)
		}
	}
}

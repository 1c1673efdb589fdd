package archive

import (
	"errors"
	"strings"
	"testing"

	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
)

const three = "000000010000000000000003"

func TestInspectSegments(t *testing.T) {
	for what, s := range map[string]fixture.Segment{
		"1 MiB":                    {Name: three},
		"16 MiB":                   {Name: three, Size: 16 << 20},
		"of the parent's timeline": {Name: "000000020000000000000003", Timeline: 1},
		"last of its log":          {Name: "0000000100000000000000FF", Size: 16 << 20},
		"beyond 32 bits":           {Name: "00000001000000050000000A"},
		"PostgreSQL 18":            {Name: three, Magic: 0xD118},
	} {
		c, err := Inspect(name(t, s.Name), memory(s.Bytes()))
		if err != nil || c.SystemID != fixture.SystemID || c.SegmentSize == 0 || c.Major == 0 {
			t.Errorf("%s: %+v, %v", what, c, err)
		}
	}
	partial := fixture.Segment{Name: three}.Bytes()
	if _, err := Inspect(name(t, three+".partial"), memory(partial)); err != nil {
		t.Errorf("partial: %v", err)
	}
}

func TestInspectBadSegments(t *testing.T) {
	for what, s := range map[string]fixture.Segment{
		"empty":                       {Name: three, Length: -1},
		"a part of a header":          {Name: three, Length: 39},
		"one byte short":              {Name: three, Length: 1<<20 - 1},
		"one byte long":               {Name: three, Length: 1<<20 + 1},
		"of another size":             {Name: three, Size: 16 << 20, Length: 1 << 20},
		"of another place":            {Name: three, Address: 4 << 20},
		"of a later timeline":         {Name: three, Timeline: 2},
		"of an old release":           {Name: three, Magic: 0xD101},
		"of no release":               {Name: three, Magic: 0xFFFF},
		"of an impossible name":       {Name: "000000010000000000000100", Size: 16 << 20},
		"of an impossible size":       {Name: three, Size: 3 << 20, Address: 9 << 20},
		"of the other half of a name": {Name: three, Address: 3<<20 + 8192},
	} {
		if c, err := Inspect(name(t, s.Name), memory(s.Bytes())); err == nil || errors.Is(err, ErrForeign) {
			t.Errorf("%s: %+v, %v", what, c, err)
		}
	}
	if _, err := Inspect(name(t, three), memory(make([]byte, 1<<20))); err == nil || !strings.Contains(err.Error(), "zero") {
		t.Errorf("all zeros: %v", err)
	}
}

const backupHistory = "START WAL LOCATION: 0/3000028 (file 000000010000000000000003)\nLABEL: x\n"

func TestInspectTexts(t *testing.T) {
	long := backupHistory + strings.Repeat("x", 1<<20) + "\n"
	for _, test := range []struct {
		file, text string
		good       bool
	}{
		{three + ".00000028.backup", backupHistory, true},
		{three + ".00000028.backup", "", false},
		{three + ".00000028.backup", "\x00\x00", false},
		{three + ".00000028.backup", backupHistory[:40], false},
		{three + ".00000028.backup", long, false},
		{"00000002.history", "1\t0/3000000\tno recovery target specified\n", true},
		{"00000002.history", "", false},
		{"00000002.history", "1\t0/30", false},
		{"00000002.history", "2\t0/3000000\tits own ancestor\n", false},
		{"00000002.history", long, false},
	} {
		c, err := Inspect(name(t, test.file), memory([]byte(test.text)))
		if test.good != (err == nil) || c != (Cluster{}) {
			t.Errorf("%s %.40q: %+v, %v", test.file, test.text, c, err)
		}
	}
}

func FuzzInspect(f *testing.F) {
	f.Add(three, fixture.Segment{Name: three}.Header())
	f.Add("00000002.history", []byte("1\t0/3000000\tx\n"))
	f.Add(three+".00000028.backup", []byte(backupHistory))
	f.Fuzz(func(t *testing.T, file string, contents []byte) {
		n, err := wal.ParseName(file)
		if err != nil {
			return
		}
		c, err := Inspect(n, memory(contents))
		if err == nil && (n.Kind == wal.Segment || n.Kind == wal.Partial) && int64(len(contents)) != int64(c.SegmentSize) {
			t.Errorf("%s of %d bytes is a segment of %d", file, len(contents), c.SegmentSize)
		}
	})
}

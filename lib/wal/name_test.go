package wal

import (
	"errors"
	"regexp"
	"testing"
)

func TestParseName(t *testing.T) {
	for in, want := range map[string]Name{
		"0000000A00000012000000A5":                 {Segment, 10, 0x12, 0xA5, 0},
		"FFFFFFFFFFFFFFFFFFFFFFFF":                 {Segment, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0},
		"0000000A00000012000000A5.partial":         {Partial, 10, 0x12, 0xA5, 0},
		"0000000A00000012000000A5.00ABCDEF.backup": {BackupHistory, 10, 0x12, 0xA5, 0xABCDEF},
		"0000000A.history":                         {TimelineHistory, 10, 0, 0, 0},
	} {
		got, err := ParseName(in)
		if err != nil || got != want || got.String() != in {
			t.Errorf("ParseName(%q) = %+v (%s), %v; want %+v", in, got, got, err, want)
		}
		base := ""
		if want.Kind != TimelineHistory {
			base = in[:24]
		}
		if got.Base() != base {
			t.Errorf("base of %s is %q, want %q", in, got.Base(), base)
		}
	}
}

func TestParseNameRefuses(t *testing.T) {
	for _, in := range []string{
		"", ".", "..", "-", "RECOVERYXLOG", ".history", ".partial", ".backup",
		"00000001000000000000000",   // a digit short
		"0000000100000000000000011", // a digit more
		"00000001000000000000000:", "00000001000000000000000a", "00000001000000000000000G",
		"+00000010000000000000001", "0000000100000000 0000001", "0x0000010000000000000001",
		"pg_wal/000000010000000000000001", "./000000010000000000000001", "000000010000000000000001/",
		"000000010000000000000001\n", "000000010000000000000001\x00", " 000000010000000000000001",
		"000000010000000000000001.", "000000010000000000000001.part", "000000010000000000000001.PARTIAL",
		"000000010000000000000001.partial.partial", "000000010000000000000001.partial.zst",
		"000000010000000000000001.gz", "000000010000000000000001.history",
		"000000010000000000000001.backup", "000000010000000000000001..backup",
		"000000010000000000000001.0000028.backup", "000000010000000000000001.000000028.backup",
		"000000010000000000000001.0000002a.backup", "00000001000000000000000100000028.backup",
		"0000001.history", "000000001.history", "0000000a.history", "00000002.History", "00000002history",
		"00000002.history.backup", "00000002.partial",
		"Ａ00000010000000000000001", "0000000100000000000000٠١",
	} {
		if got, err := ParseName(in); !errors.Is(err, ErrName) {
			t.Errorf("ParseName(%q) = %+v, %v; want ErrName", in, got, err)
		}
	}
}

func FuzzParseName(f *testing.F) {
	for _, s := range []string{
		"0000000A00000012000000A5", "0000000A00000012000000A5.partial", "0000000A00000012000000A5.00000028.backup",
		"0000000A.history", "00000001000000000000000:", "00000001.history.history", "+0000001.history",
	} {
		f.Add(s)
	}
	form := regexp.MustCompile(`\A(?:[0-9A-F]{24}(?:\.partial|\.[0-9A-F]{8}\.backup)?|[0-9A-F]{8}\.history)\z`)
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s)
		if (err == nil) != form.MatchString(s) {
			t.Errorf("ParseName(%q): %v", s, err)
		}
		if err == nil && n.String() != s {
			t.Errorf("%q reads as %+v, which is %q", s, n, n)
		}
	})
}

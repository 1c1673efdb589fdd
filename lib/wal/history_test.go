package wal

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestParseHistoryOfServer(t *testing.T) {
	got, err := ParseHistory(3, fixture(t, "third-timeline.history"))
	want := History{
		{1, 0x60000A0, "no recovery target specified"},
		{2, 0x80000A0, "no recovery target specified"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}

func TestParseHistory(t *testing.T) {
	for _, test := range []struct {
		tli  Timeline
		in   string
		want History
	}{
		{2, "1\t0/9000110\tbefore 2026-11-22\n", History{{1, 0x9000110, "before 2026-11-22"}}},
		{2, "1\t0/9000110\t\n", History{{1, 0x9000110, ""}}},
		{2, "1\t0/9000110\n", History{{1, 0x9000110, ""}}},
		{2, "1\t0/9000110\tat restore point \"a\tb\xff\"\n", History{{1, 0x9000110, "at restore point \"a\tb\xff\""}}},
		{2, "# a comment\n\n \t\n  1 A/0B 1\n  # another\n", History{{1, 0xA0000000B, "1"}}},
		{0xFFFFFFFF, "3\t0/1\tx\n\n4294967294\t0/2\ty\n", History{{3, 1, "x"}, {0xFFFFFFFE, 2, "y"}}},
	} {
		got, err := ParseHistory(test.tli, []byte(test.in))
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q: %+v, %v; want %+v", test.in, got, err, test.want)
		}
	}
}

func TestParseHistoryRefuses(t *testing.T) {
	for _, test := range []struct {
		tli      Timeline
		in, want string
	}{
		{2, "", "no ancestor"},
		{2, "# only a comment\n\n", "no ancestor"},
		{2, "1\t0/90001", "cut off"},
		{2, "1\t0/9000110\tno recovery target", "cut off"},
		{2, "1\n", "not an LSN"},
		{2, "1\t\n", "not an LSN"},
		{2, "1\t9000110\tx\n", "not an LSN"},
		{2, "1\t0/\tx\n", "not an LSN"},
		{2, "x\t0/1\ty\n", `"x" is not a timeline`},
		{2, "-1\t0/1\ty\n", "not a timeline"},
		{2, "0\t0/1\ty\n", "not a timeline"},
		{2, "4294967297\t0/1\ty\n", "not a timeline"},
		{2, "2\t0/1\ty\n", "cannot be an ancestor"},
		{1, "1\t0/1\ty\n", "cannot be an ancestor"},
		{4, "2\t0/1\ty\n1\t0/2\tz\n", "line 2: timeline 1 after timeline 2"},
		{4, "2\t0/1\ty\n2\t0/2\tz\n", "line 2: timeline 2 after timeline 2"},
		{3, "1\t0/1\ty\n\n4\t0/2\tz\n", "line 3: timeline 4 cannot"},
		{2, "\x00\x00\x00\n", "not a timeline"},
	} {
		got, err := ParseHistory(test.tli, []byte(test.in))
		if !errors.Is(err, ErrHistory) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %+v, %v; want %q", test.in, got, err, test.want)
		}
	}
}

func TestSwitchFrom(t *testing.T) {
	h := History{{1, 100, ""}, {2, 300, ""}, {5, 200, ""}}
	for _, test := range []struct {
		parent Timeline
		at     LSN
		ok     bool
	}{
		{1, 100, true},
		{2, 200, true}, // the line left 5 before 5 began
		{5, 200, true},
		{3, 0, false},
		{6, 0, false},
	} {
		if at, ok := h.SwitchFrom(test.parent); at != test.at || ok != test.ok {
			t.Errorf("SwitchFrom(%d) = %s, %v; want %s, %v", test.parent, at, ok, test.at, test.ok)
		}
	}
	if at, ok := History(nil).SwitchFrom(1); ok {
		t.Errorf("an empty history leaves timeline 1 at %s", at)
	}
}

func FuzzParseHistory(f *testing.F) {
	f.Add(uint32(3), fixture(f, "third-timeline.history"))
	f.Add(uint32(2), fixture(f, "second-timeline.history"))
	f.Add(uint32(2), []byte("1\t0/90001"))
	f.Add(uint32(9), []byte("#\n1 a/b\n8\tFFFFFFFF/FFFFFFFF\t\xff\n"))
	f.Fuzz(func(t *testing.T, tli uint32, b []byte) {
		h, err := ParseHistory(Timeline(tli), b)
		if err != nil {
			if !errors.Is(err, ErrHistory) {
				t.Errorf("%v is not ErrHistory", err)
			}
			return
		}
		last := Timeline(0)
		for _, s := range h {
			if s.Parent <= last || s.Parent >= Timeline(tli) {
				t.Errorf("timeline %d after %d in the history of %d", s.Parent, last, tli)
			}
			last = s.Parent
			if at, ok := h.SwitchFrom(s.Parent); !ok || at > s.At {
				t.Errorf("left %d at %s, %v; its entry says %s", s.Parent, at, ok, s.At)
			}
		}
		if len(h) == 0 {
			t.Error("no ancestor, and no error")
		}
	})
}

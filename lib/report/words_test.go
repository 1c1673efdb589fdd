package report

import (
	"strings"
	"testing"
	"time"
)

func TestSizes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1 kB", 1234: "1.23 kB", 12_345: "12.3 kB", 99_949: "99.9 kB", 99_951: "100 kB",
		999_499: "999 kB", 999_500: "1 MB", 310e9: "310 GB", 1.2e12: "1.2 TB", 1 << 62: "4.61 EB",
	} {
		if got := strings.ReplaceAll(size(n), thin, " "); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "under 1 s", 999 * time.Millisecond: "under 1 s", time.Second: "1 s", 59*time.Second + 900*time.Millisecond: "59 s",
		time.Minute: "1 min", 61 * time.Second: "1 min 1 s", time.Hour + time.Second: "1 h", 107 * time.Minute: "1 h 47 min",
		24 * time.Hour: "1 d", 26*time.Hour + 5*time.Minute: "1 d 2 h", 731 * 24 * time.Hour: "731 d",
	} {
		if got := strings.ReplaceAll(duration(d), thin, " "); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestUnknown(t *testing.T) {
	for _, got := range []string{someSize(0), someSize(-1), someDuration(0), ratio(0, 1), ratio(1, 0), moment(time.Time{})} {
		if got != unknown {
			t.Errorf("%q, want %q", got, unknown)
		}
	}
}

func TestCounts(t *testing.T) {
	for n, want := range map[int]string{0: "0 holes", 1: "1 hole", 999: "999 holes", 1000: "1 000 holes", 1234567: "1 234 567 holes"} {
		if got := strings.ReplaceAll(count(n, "hole", "holes"), thin, " "); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestClean(t *testing.T) {
	for text, want := range map[string]string{
		"a b": "a b", "ä漢": "ä漢", "a\tb\nc": "a b c", "a\x00b": "a\ufffdb", "a\xffb": "a\ufffdb", "a\u202eb\u2066": "a\ufffdb\ufffd", "a\u200bb": "a\ufffdb",
		strings.Repeat("x", longest): strings.Repeat("x", longest), strings.Repeat("漢", longest+1): strings.Repeat("漢", longest-1) + "…",
	} {
		if got := clean(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestTimesAreUTC(t *testing.T) {
	there := time.Date(2026, 11, 22, 1, 15, 0, 0, time.FixedZone("", 9*3600))
	if got, want := moment(there), "2026-11-21 16:15"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := instant(there), "21 November 2026, 16:15:00 UTC"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

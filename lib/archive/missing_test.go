package archive

import (
	"fmt"
	"strings"
	"testing"

	"pgpipes/lib/retain"
	"pgpipes/lib/wal"
)

// spanOf is the segments from first to last of a timeline.
func spanOf(t *testing.T, tli wal.Timeline, first, last uint64) Span {
	t.Helper()
	return Span{name(t, mib.Name(tli, first)), name(t, mib.Name(tli, last))}
}

func TestMissing(t *testing.T) {
	type ranges = []retain.WALRange
	for _, test := range []struct {
		what   string
		ranges ranges
		want   string // timeline:first-last
	}{
		{"nothing is archived", nil, ""},
		{"all", ranges{run(1, 3, 6), run(2, 6, 9), run(3, 9, 12)}, ""},
		{"the old server went on", ranges{run(1, 3, 20), run(2, 6, 11), run(3, 9, 12)}, ""},
		{"the segments of the switches are the children's", ranges{run(1, 3, 5), run(2, 6, 8), run(3, 9, 12)}, ""},
		{"what is older has expired", ranges{run(3, 11, 12)}, ""},
		{"the oldest has expired", ranges{run(2, 7, 8), run(3, 9, 12)}, ""},
		{"nothing since the first switch, though there was a second", ranges{run(1, 3, 5)}, "2:6-8"},
		{"the parent's alone, to the last switch", ranges{run(1, 3, 5), run(2, 6, 8)}, ""},
		{"between others", ranges{run(1, 3, 3), run(1, 5, 6), run(2, 6, 9), run(3, 9, 12)}, "1:4-4"},
		{"two of one", ranges{run(1, 1, 1), run(1, 3, 3), run(1, 6, 6)}, "1:2-2 1:4-5"},
		{"before the switch", ranges{run(1, 3, 4), run(2, 6, 9), run(3, 9, 12)}, "1:5-5"},
		{"before the switch, and nothing since", ranges{run(1, 3, 3)}, "1:4-5 2:6-8"},
		{"the child's first", ranges{run(1, 3, 6), run(2, 7, 9), run(3, 9, 12)}, "2:6-6"},
		{"over a switch", ranges{run(1, 3, 4), run(2, 8, 9), run(3, 9, 12)}, "1:5-5 2:6-7"},
		{"of the branch that was left, too", ranges{run(1, 3, 4), run(1, 9, 9), run(2, 6, 9), run(3, 9, 12)}, "1:5-8"},
		{"a whole timeline", ranges{run(1, 3, 6), run(3, 9, 12)}, "2:6-8"},
	} {
		c := branched(t, test.ranges...)
		if test.what == "two of one" {
			c.Histories = nil
		}
		if got := runNames(c.Missing()); got != test.want {
			t.Errorf("%s: %q, want %q", test.what, got, test.want)
		}
	}
}

func runNames(runs []retain.WALRange) string {
	var text []string
	for _, w := range runs {
		text = append(text, fmt.Sprintf("%d:%d-%d", w.Timeline, w.First, w.Last))
	}
	return strings.Join(text, " ")
}

// What is dropped or accepted is not missing, and what is left of it is.
func TestMissingThatIsKnown(t *testing.T) {
	c := Coverage{Size: mib, Ranges: []retain.WALRange{run(1, 1, 2), run(1, 10, 12)}}
	c.Accepted = []Accepted{{Span: spanOf(t, 1, 3, 4)}, {Span: spanOf(t, 1, 4, 5)}, {Span: spanOf(t, 2, 6, 9)}}
	c.Gaps = []Gap{{Span: spanOf(t, 1, 8, 8)}, {Span: spanOf(t, 1, 14, 15)}}
	if got := runNames(c.Missing()); got != "1:6-7 1:9-9 1:13-13" {
		t.Error(got)
	}
	if !c.IsAccepted(mib.Name(1, 5)) || c.IsAccepted(mib.Name(1, 6)) || c.IsAccepted("00000002.history") || c.IsAccepted("") {
		t.Error("which are accepted?")
	}
	if got := c.RunName(run(1, 6, 7)) + "; " + c.RunName(run(1, 9, 9)); got != "000000010000000000000006 to 000000010000000000000007, 2 segments; 000000010000000000000009" {
		t.Error(got)
	}
}

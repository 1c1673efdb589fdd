package archive

import (
	"slices"
	"testing"

	"pgpipes/lib/retain"
	"pgpipes/lib/wal"
)

// left is a history: where each of its timelines was left, in the middle of a
// segment.
func left(switches ...uint64) (h wal.History) {
	for i := 0; i < len(switches); i += 2 {
		h = append(h, wal.Switch{Parent: wal.Timeline(switches[i]), At: mib.Start(switches[i+1]) + 100})
	}
	return h
}

func TestMissingRuns(t *testing.T) {
	for _, c := range []struct {
		what      string
		stored    []retain.WALRange
		histories map[wal.Timeline]wal.History
		want      []retain.WALRange
	}{
		{"nothing", nil, nil, nil},
		{"one run", []retain.WALRange{run(1, 5, 9)}, nil, nil},
		{"two holes", []retain.WALRange{run(1, 5, 9), run(1, 11, 12), run(1, 20, 20)}, nil, []retain.WALRange{run(1, 10, 10), run(1, 13, 19)}},
		{"a branch", []retain.WALRange{run(1, 5, 9), run(2, 8, 12)}, map[wal.Timeline]wal.History{2: left(1, 8)}, nil},
		{"a branch after the end", []retain.WALRange{run(1, 5, 7), run(2, 8, 12)}, map[wal.Timeline]wal.History{2: left(1, 8)}, nil},
		{"the end of the parent", []retain.WALRange{run(1, 5, 6), run(2, 9, 12)}, map[wal.Timeline]wal.History{2: left(1, 9)}, []retain.WALRange{run(1, 7, 8)}},
		{"the beginning of the child", []retain.WALRange{run(1, 5, 9), run(2, 9, 12)}, map[wal.Timeline]wal.History{2: left(1, 8)}, []retain.WALRange{run(2, 8, 8)}},
		{"the parent has expired", []retain.WALRange{run(2, 9, 12)}, map[wal.Timeline]wal.History{2: left(1, 5)}, nil},
		{"nothing yet of the child", []retain.WALRange{run(1, 5, 7)}, map[wal.Timeline]wal.History{2: left(1, 8)}, nil},
		{"nothing of the child, and less of the parent", []retain.WALRange{run(1, 5, 6)}, map[wal.Timeline]wal.History{2: left(1, 8)}, []retain.WALRange{run(1, 7, 7)}},
		{"one hole on three lines", []retain.WALRange{run(1, 2, 3), run(1, 6, 12), run(2, 8, 9), run(3, 10, 11)},
			map[wal.Timeline]wal.History{2: left(1, 8), 3: left(1, 10)}, []retain.WALRange{run(1, 4, 5)}},
		{"two switches in a segment", []retain.WALRange{run(1, 5, 8), run(2, 8, 8), run(3, 8, 9)},
			map[wal.Timeline]wal.History{2: left(1, 8), 3: left(1, 8, 2, 8)}, nil},
		{"a switch at the very beginning", []retain.WALRange{run(2, 0, 3)}, map[wal.Timeline]wal.History{2: left(1, 0)}, nil},
		{"without its history", []retain.WALRange{run(1, 5, 6), run(2, 9, 9), run(2, 11, 12)}, nil, []retain.WALRange{run(2, 10, 10)}},
	} {
		got := Coverage{Size: mib, Ranges: c.stored, Histories: c.histories}.missingRuns()
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

func TestWithout(t *testing.T) {
	all := []retain.WALRange{run(1, 1, 10), run(2, 1, 3)}
	for _, c := range []struct {
		gone []retain.WALRange
		want []retain.WALRange
	}{
		{nil, all},
		{[]retain.WALRange{run(3, 1, 10), run(1, 11, 12)}, all},
		{[]retain.WALRange{run(1, 0, 3), run(1, 5, 5), run(1, 9, 20), run(2, 1, 3)}, []retain.WALRange{run(1, 4, 4), run(1, 6, 8)}},
		{[]retain.WALRange{run(1, 0, 30), run(2, 2, 2)}, []retain.WALRange{run(2, 1, 1), run(2, 3, 3)}},
	} {
		if got := without(all, c.gone); !slices.Equal(got, c.want) {
			t.Errorf("without %v: %v, want %v", c.gone, got, c.want)
		}
	}
}

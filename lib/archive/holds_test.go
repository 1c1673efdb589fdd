package archive

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"pgpipes/lib/layout"
)

// A text is found wherever it lies, in whatever pieces a segment comes, and in
// the form of it that can be read.
func TestHolds(t *testing.T) {
	r := repository(t)
	segment := make([]byte, mib)
	copy(segment[copyBuffer-3:], "early")
	copy(segment[mib-4:], "late")
	key := layout.WALKey(name(t, "000000010000000000000002"))
	r.place(t, key, segment)
	r.place(t, key+".zst", []byte("no stream"))
	r.place(t, layout.WALKey(name(t, "000000010000000000000003")), make([]byte, mib))
	for _, test := range []struct {
		text        string
		first, last uint64
		want        bool
	}{
		{"early", 2, 2, true}, {"late", 2, 3, true}, {"early", 3, 3, false}, {"never", 2, 3, false}, {"early", 0, 1, false},
	} {
		if got, err := r.Holds(context.Background(), 1, test.first, test.last, test.text); err != nil || got != test.want {
			t.Errorf("%s: %v, %v", test.text, got, err)
		}
	}
	for size := 1; size < 12; size++ {
		s := search{text: []byte("needle")}
		for piece := range slices.Chunk([]byte("hay needl needle hay"), size) {
			s.Write(piece)
		}
		none := search{text: []byte("needle")}
		for piece := range slices.Chunk(bytes.Repeat([]byte("needl"), 5), size) {
			none.Write(piece)
		}
		if !s.found || none.found {
			t.Errorf("pieces of %d: %v, %v", size, s.found, none.found)
		}
	}
	r.place(t, layout.WALKey(name(t, "000000010000000000000004"))+".zst", []byte("no stream"))
	if found, err := r.Holds(context.Background(), 1, 4, 4, "early"); found || err == nil {
		t.Errorf("a damaged segment: %v, %v", found, err)
	}
}

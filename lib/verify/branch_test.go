package verify

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgpipes/lib/archive"
	"pgpipes/lib/codec"
	"pgpipes/lib/layout"
	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
	"pgpipes/test/repository"
)

// branchedAt is a repository with two timelines, of which the second left the first
// when its log had come to a place, and has a segment more.
func branchedAt(t *testing.T, at wal.LSN) *archive.Repo {
	t.Helper()
	r := repository.New(t)
	l := fixture.NewLog(1, mib, 1)
	l.FillTo(at)
	l.Branch(2)
	parents := mib.Name(1, mib.Number(at)) // not archived, as it is not full
	l.Message(100)
	l.FillTo(mib.Start(mib.Number(at) + 2))
	for name, b := range l.Segments {
		if name != parents {
			fixture.Place(t, r.Location, layout.WALKey(fixture.Name(t, name)), b)
		}
	}
	return r
}

// tell gives timeline 2 a history.
func tell(t *testing.T, r *archive.Repo, at wal.LSN) {
	t.Helper()
	fixture.Remove(t, r.Location, layout.History)
	fixture.Branch(t, r.Location, 2, fmt.Sprintf("1\t%s\tno recovery target specified\n", at))
}

// The history of a timeline is damaged if it says another place than that at which
// the timeline began.
func TestVerifyBeginnings(t *testing.T) {
	const segment = wal.LSN(mib)
	for _, at := range []wal.LSN{
		3*segment + 0x4F00, 3*segment + 0x28 + 64, 3*segment + 0x6000, 3 * segment, 4*segment - 64, 4*segment - 8192,
	} {
		r := branchedAt(t, at)
		tell(t, r, at)
		if found, failed, err := verified(t, r, Verification{}); len(found)+len(failed) > 0 || err != nil {
			t.Errorf("%s: %q, %v, %v", at, found, failed, err)
		}
		for _, wrong := range []wal.LSN{at + 8, at + 1, at + 8192, at + segment, at - at%segment + 0x10, 4*segment - 8} {
			tell(t, r, wrong)
			found, failed, err := verified(t, r, Verification{})
			want := fmt.Sprintf("damaged\twal/history/00000002.history\tit says that timeline 2 began at %s, ", wrong)
			if len(failed) > 0 || err != nil || len(found) != 1 || !strings.HasPrefix(found[0], want) {
				t.Errorf("%s for %s: %q, %v, %v", wrong, at, found, failed, err)
			}
		}
	}
}

// Names tell of a segment from before its timeline began.
func TestVerifyBeginningsQuickly(t *testing.T) {
	r := branchedAt(t, 0x3A0000)
	tell(t, r, 0x4A0000)
	found, _, err := verified(t, r, Verification{Quick: true})
	if want := "damaged\twal/history/00000002.history\tit says that timeline 2 began at 0/4A0000, but there is 000000020000000000000003"; err != nil || len(found) != 1 || found[0] != want {
		t.Errorf("%q, %v", found, err)
	}
}

// A journal knows segments and no histories.
func TestVerifyBeginningsFromTheJournal(t *testing.T) {
	r := branchedAt(t, 0x3A0000)
	file := filepath.Join(t.TempDir(), "journal")
	for _, c := range []struct {
		at   wal.LSN
		want int
	}{{0x3A0000, 0}, {0x3A0010, 1}, {0x3A0010, 1}} {
		tell(t, r, c.at)
		j, err := OpenJournal(r, file)
		if err != nil {
			t.Fatal(err)
		}
		if found, _, err := verified(t, r, Verification{Journal: j}); err != nil || len(found) != c.want {
			t.Errorf("%s: %q, %v", c.at, found, err)
		}
		if err := j.Finish(false); err != nil {
			t.Fatal(err)
		}
	}
}

// The segments of the parent are none of the child's, however alike they are.
func TestVerifyBeginningOfAnotherTimeline(t *testing.T) {
	const at = 0x3A0000
	r := branchedAt(t, at)
	tell(t, r, at)
	l := fixture.NewLog(1, mib, 1)
	l.FillTo(at)
	l.Message(100)
	l.FillTo(mib.Start(5))
	for _, number := range []uint64{3, 4} {
		key := layout.WALKey(fixture.Name(t, mib.Name(2, number)))
		fixture.Remove(t, r.Location, key)
		fixture.Place(t, r.Location, key, l.Segments[mib.Name(1, number)])
	}
	found, failed, err := verified(t, r, Verification{})
	want := "damaged\twal/0000000200000000/000000020000000000000003\tits timeline began at 0/3A0000, by the history, but no page of it is of that"
	if len(failed) > 0 || err != nil || len(found) != 1 || found[0] != want {
		t.Errorf("%q, %v, %v", found, failed, err)
	}
}

// The last segment of a timeline that was left in it may end where it was left, or
// anywhere behind, as its server archives it when it follows the other one.
func TestVerifyWhatWasLeft(t *testing.T) {
	const at = 0x3A0000
	parents := fixture.Name(t, mib.Name(1, 3))
	key := layout.WALKey(parents)
	l := fixture.NewLog(1, mib, 1)
	l.FillTo(at)
	left := l.Segments[parents.String()]
	for what, c := range map[string]struct {
		change func(b []byte)
		more   string
		want   string
	}{
		"as it was":         {func([]byte) {}, "", ""},
		"an old file":       {func(b []byte) { copy(b[at%mib:], left) }, "", ""},
		"damaged before":    {func(b []byte) { b[at%mib-100] ^= 1 }, "", "damaged\t" + key + "\t"},
		"damaged page":      {func(b []byte) { b[at%mib-at%8192-8192] ^= 1 }, "", "damaged\t" + key + "\t"},
		"more came of it":   {func([]byte) {}, mib.Name(1, 4), "damaged\t" + key + "\tpage at 0/3A0000: "},
		"nobody knows that": {func([]byte) {}, "", "damaged\t" + key + "\tpage at 0/3A0000: "},
	} {
		r := branchedAt(t, at)
		if tell(t, r, at); what == "nobody knows that" {
			fixture.Remove(t, r.Location, layout.History)
		}
		b := append([]byte(nil), left...)
		c.change(b)
		fixture.Place(t, r.Location, key, b)
		if c.more != "" {
			fixture.Archive(t, r.Location, codec.Options{Format: codec.None}, c.more)
		}
		found, failed, err := verified(t, r, Verification{})
		tells := slices.ContainsFunc(found, func(s string) bool { return strings.HasPrefix(s, c.want) })
		if len(failed) > 0 || err != nil || tells != (c.want != "") || c.want == "" && len(found) > 0 {
			t.Errorf("%s: %q, %v, %v", what, found, failed, err)
		}
	}
}

// It is damage to a backup that ends behind it.
func TestVerifyWhatWasLeftAndIsNeeded(t *testing.T) {
	const at = 0x300068
	r := branchedAt(t, at)
	tell(t, r, at)
	l := fixture.NewLog(1, mib, 1)
	l.FillTo(at)
	for range 3 {
		l.Message(100)
	}
	left := l.Segments[mib.Name(1, 3)]
	left[at%mib+120] ^= 1
	key := layout.WALKey(fixture.Name(t, mib.Name(1, 3)))
	fixture.Place(t, r.Location, key, left)
	if found, _, err := verified(t, r, Verification{}); err != nil || len(found) > 0 {
		t.Errorf("without a backup: %q, %v", found, err)
	}
	placeBackup(t, r, "b", 1, 3)
	found, _, err := verified(t, r, Verification{})
	if tells := slices.ContainsFunc(found, func(s string) bool { return strings.HasPrefix(s, "damaged\t"+key+"\t") }); !tells || err != nil {
		t.Errorf("%q, %v", found, err)
	}
}

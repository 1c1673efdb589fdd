package expire

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/layout"
	"pgpipes/lib/retain"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
	"pgpipes/test/repository"
)

// placeBackup places one that needs a single segment.
func placeBackup(t *testing.T, r *archive.Repo, label string, tli wal.Timeline, segment uint64, stop time.Time) {
	t.Helper()
	files, err := fixture.Backup{Label: label, Timeline: tli, First: segment, Last: segment, Stop: stop}.Files()
	if err != nil {
		t.Fatal(err)
	}
	for file, contents := range files {
		fixture.Place(t, r.Location, layout.BaseKey(label, file), contents)
	}
}

func expire(t *testing.T, r *archive.Repo, p retain.Policy, now time.Time) *Expiry {
	t.Helper()
	e, err := Decide(t.Context(), r, p, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Apply(t.Context(), 2, func(err error) { t.Error(err) }); err != nil {
		t.Fatal(err)
	}
	return e
}

// All that a recovery of a kept backup could come upon is on record before it
// goes, also the end of a branch that was left: nobody takes what is before it for
// all there ever was.
func TestHolesOfExpire(t *testing.T) {
	r := repository.New(t)
	for n := range 12 {
		fixture.Mark(t, r.Location, mib.Name(1, uint64(n+1)))
	}
	for n := range 10 {
		fixture.Mark(t, r.Location, mib.Name(2, uint64(n+5)))
	}
	fixture.Branch(t, r.Location, 2, "1\t0/500100\tno recovery target specified\n")
	day := func(n int) time.Time { return time.Date(2026, 11, n, 10, 0, 0, 0, time.UTC) }
	placeBackup(t, r, "a", 1, 2, day(1))
	placeBackup(t, r, "b", 1, 8, day(2)) // on the branch that was left
	placeBackup(t, r, "c", 2, 9, day(10))
	placeBackup(t, r, "d", 2, 12, day(11))

	policy := retain.Policy{KeepLast: 9, WAL: retain.WALPolicy{Limited: true}}
	expire(t, r, policy, day(12))
	span := func(tli wal.Timeline, first, last uint64) string {
		return layout.Hole + mib.Name(tli, first) + "-" + mib.Name(tli, last)
	}
	want := []string{span(1, 3, 7), span(1, 9, 12), span(2, 5, 8), span(2, 10, 11)}
	same(t, "holes", repository.Keys(t, r, layout.Hole), want)

	c, err := r.Coverage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all, err := r.Backups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var shown []string
	for _, h := range c.Holes(all) {
		shown = append(shown, fmt.Sprintf("%s %d %s", h.Span, h.Segments, h.State))
	}
	if got := strings.Join(shown, "; "); got != fmt.Sprintf("%s 5 expired; %s 4 expired; %s 4 expired; %s 2 expired", want[0][5:], want[1][5:], want[2][5:], want[3][5:]) {
		t.Errorf("holes: %s", got)
	}
	for segment, there := range map[string]error{mib.Name(1, 5): archive.ErrHole, mib.Name(1, 9): archive.ErrHole, mib.Name(1, 12): archive.ErrHole, mib.Name(1, 13): store.ErrNotExist, mib.Name(2, 15): store.ErrNotExist} {
		_, err := archive.Get(t.Context(), []string{r.Location}, nil, fixture.Name(t, segment), filepath.Join(t.TempDir(), "out"), func(error) {})
		if !errors.Is(err, there) || errors.Is(err, archive.ErrHole) && errors.Is(err, store.ErrNotExist) {
			t.Errorf("%s: %v, want %v", segment, err, there)
		}
	}
	for _, d := range expire(t, r, policy, day(12)).Decisions {
		if !d.Keep {
			t.Errorf("the second time: %v", d)
		}
	}
	same(t, "holes", repository.Keys(t, r, layout.Hole), want)
}

// A removal of WAL that was cut short goes on, and says nothing twice.
func TestHolesAreRecordedOnce(t *testing.T) {
	r := repository.New(t)
	day := func(n int) time.Time { return time.Date(2026, 11, n, 10, 0, 0, 0, time.UTC) }
	for n := range 9 {
		fixture.Mark(t, r.Location, mib.Name(1, uint64(n+1)))
	}
	placeBackup(t, r, "a", 1, 1, day(1))
	placeBackup(t, r, "b", 1, 8, day(2))
	policy := retain.Policy{KeepLast: 9, WAL: retain.WALPolicy{Limited: true, Within: 36 * time.Hour}}
	e, err := Decide(t.Context(), r, policy, day(4))
	if err != nil {
		t.Fatal(err)
	}
	whole := r.Store
	r.Store = &dying{r.Store, 3}
	if err := e.Apply(t.Context(), 1, func(error) {}); err == nil {
		t.Error("what is left is not told")
	}
	r.Store = whole
	expire(t, r, policy, day(4))
	same(t, "WAL", repository.Keys(t, r, "wal/"), []string{layout.WALKey(fixture.Name(t, mib.Name(1, 1))), layout.WALKey(fixture.Name(t, mib.Name(1, 8))), layout.WALKey(fixture.Name(t, mib.Name(1, 9)))})
	same(t, "holes", repository.Keys(t, r, layout.Hole), []string{layout.Hole + mib.Name(1, 2) + "-" + mib.Name(1, 7)})
	accepted, err := r.AcceptedHoles(t.Context())
	if err != nil || accepted[0].By != archive.ByExpire || accepted[0].Reason != "expire --wal-keep 36h" {
		t.Errorf("%+v, %v", accepted, err)
	}
}

// What a removal has left that was killed, of a backup that does not say when it
// began, goes when all of it is old.
func TestLeavingsGrowOld(t *testing.T) {
	r := repository.New(t)
	now := time.Now()
	fixture.Mark(t, r.Location, mib.Name(1, 1))
	placeBackup(t, r, "whole", 1, 1, now.Add(72*time.Hour))
	fixture.Place(t, r.Location, layout.BaseKey("left", "000.tar"), []byte("x"))
	for hours, want := range map[int][]string{47: {layout.BaseKey("left", "000.tar")}, 0: {layout.BaseKey("left", "000.tar")}} {
		expire(t, r, retain.Policy{KeepLast: 1, Abandoned: archive.Abandoned}, now.Add(time.Duration(hours)*time.Hour))
		same(t, "leavings", repository.Keys(t, r, layout.BaseKey("left", "")), want)
	}
	expire(t, r, retain.Policy{KeepLast: 1, Abandoned: archive.Abandoned}, now.Add(49*time.Hour))
	same(t, "leavings", repository.Keys(t, r, layout.BaseKey("left", "")), nil)
}

// Of a timeline that was left a partial segment may be all that is there. It goes
// as a whole one would, as was said.
func TestPartialsExpire(t *testing.T) {
	r := repository.New(t)
	day := func(n int) time.Time { return time.Date(2026, 11, n, 10, 0, 0, 0, time.UTC) }
	partial := func(tli wal.Timeline, n uint64) string { return mib.Name(tli, n) + ".partial" }
	fixture.Mark(t, r.Location, mib.Name(2, 5), mib.Name(2, 6), mib.Name(3, 7), mib.Name(3, 8), partial(1, 5), partial(2, 7), partial(3, 9))
	fixture.Place(t, r.Location, layout.WALKey(fixture.Name(t, partial(1, 5)))+".zst", nil)
	fixture.Branch(t, r.Location, 2, "1\t0/500100\tno recovery target specified\n")
	fixture.Branch(t, r.Location, 3, "1\t0/500100\tno recovery target specified\n2\t0/700100\tno recovery target specified\n")
	placeBackup(t, r, "a", 2, 5, day(1))
	placeBackup(t, r, "b", 3, 8, day(2))

	e := expire(t, r, retain.Policy{KeepLast: 2}, day(3))
	same(t, "left at first", repository.Keys(t, r, layout.WAL+"0"), walKeys(t, mib.Name(2, 5), mib.Name(2, 6), partial(2, 7), mib.Name(3, 7), mib.Name(3, 8), partial(3, 9)))
	same(t, "said", dropped(e), []string{partial(1, 5)})
	e = expire(t, r, retain.Policy{KeepLast: 1}, day(3))
	same(t, "left", repository.Keys(t, r, layout.WAL+"0"), walKeys(t, mib.Name(3, 8), partial(3, 9)))
	same(t, "said", dropped(e), []string{"a", mib.Name(2, 5) + ".." + mib.Name(2, 6), mib.Name(3, 7), partial(2, 7)})
}

func walKeys(t *testing.T, names ...string) (list []string) {
	t.Helper()
	for _, s := range names {
		list = append(list, layout.WALKey(fixture.Name(t, s)))
	}
	return list
}

func dropped(e *Expiry) (names []string) {
	for _, d := range e.Decisions {
		if !d.Keep {
			names = append(names, d.Name)
		}
	}
	return names
}

// Old records go, but of the drills the last that passed, of the verifications the
// last that has read everything, and what came after them. Without a rule all stay.
func TestRecordsExpire(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for what, test := range map[string]struct{ full, quick, passed, failed, gone []int }{
		"all are old":      {[]int{700, 500}, []int{800, 600, 450}, []int{900, 401}, []int{950, 420, 402}, []int{800, 700, 600, 950, 900, 420, 402}},
		"none tells":       {nil, []int{800, 600}, nil, []int{700}, nil},
		"the last is new":  {[]int{500, 399}, []int{450, 1}, []int{401, 400, 2}, nil, []int{500, 450, 401}},
		"the last failed":  {nil, nil, []int{900, 500}, []int{450, 1}, []int{900}},
		"nothing was done": {},
	} {
		t.Run(what, func(t *testing.T) {
			r := repository.New(t)
			at := map[int]string{}
			put := func(kind string, days []int, key, value string) {
				for _, n := range days {
					began := now.AddDate(0, 0, -n)
					if err := r.PutRecord(t.Context(), kind, began, key, value); err != nil {
						t.Fatal(err)
					}
					at[n] = kind + "/" + began.Format("20060102T150405Z")
				}
			}
			put(archive.KindVerify, test.full, "scope", "full")
			put(archive.KindVerify, test.quick, "scope", "quick")
			put(archive.KindDrill, test.passed, "result", "ok")
			put(archive.KindDrill, test.failed, "result", "failed")
			fixture.Place(t, r.Location, "verify/notes", nil)
			all := repository.Keys(t, r, "")
			expire(t, r, retain.Policy{}, now)
			same(t, "without a rule", repository.Keys(t, r, ""), all)
			var gone []string
			for _, n := range test.gone {
				gone = append(gone, at[n])
			}
			slices.Sort(gone)
			said := dropped(expire(t, r, retain.Policy{KeepLast: 1}, now))
			slices.Sort(said)
			same(t, "said", said, gone)
			same(t, "records", repository.Keys(t, r, ""), slices.DeleteFunc(all, func(key string) bool { return slices.Contains(gone, key) }))
		})
	}
}

// What a policy does with records of gaps: they stay while recovery can come
// upon them.
func TestExpireGaps(t *testing.T) {
	r := repository.New(t)
	gap := func(first, last uint64) string { return layout.Gap + mib.Name(1, first) + "-" + mib.Name(1, last) }
	fixture.Mark(t, r.Location, mib.Name(1, 1), mib.Name(1, 5), mib.Name(1, 6), mib.Name(1, 9))
	for _, key := range []string{gap(2, 4), gap(3, 4), gap(7, 8), layout.Gap + "README"} {
		fixture.Place(t, r.Location, key, nil)
	}
	at := func(minute int) time.Time { return time.Date(2026, 1, 1, 10, minute, 0, 0, time.UTC) }
	for label, number := range map[string]uint64{"a": 1, "b": 5, "c": 9} {
		placeBackup(t, r, label, 1, number, at(int(number)))
	}
	for _, test := range []struct {
		keep int
		gaps []string
	}{
		{3, []string{gap(2, 4), gap(3, 4), gap(7, 8), layout.Gap + "README"}},
		{2, []string{gap(7, 8), layout.Gap + "README"}},
		{1, []string{layout.Gap + "README"}},
	} {
		expire(t, r, retain.Policy{KeepLast: test.keep}, at(60))
		same(t, "gaps", repository.Keys(t, r, layout.Gap), test.gaps)
	}
}

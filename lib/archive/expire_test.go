package archive

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgpipes/lib/layout"
	"pgpipes/lib/retain"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
)

// placeBackup places one that needs a single segment.
func (r *Repo) placeBackup(t *testing.T, label string, tli wal.Timeline, segment uint64, stop time.Time) {
	t.Helper()
	files, err := fixture.Backup{Label: label, Timeline: tli, First: segment, Last: segment, Stop: stop}.Files()
	if err != nil {
		t.Fatal(err)
	}
	for file, contents := range files {
		r.place(t, layout.BaseKey(label, file), contents)
	}
}

func (r *Repo) expire(t *testing.T, p retain.Policy, now time.Time) *Expiry {
	t.Helper()
	e, err := r.Decide(t.Context(), p, now)
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
	r := repository(t)
	for n := range 12 {
		r.mark(t, mib.Name(1, uint64(n+1)))
	}
	for n := range 10 {
		r.mark(t, mib.Name(2, uint64(n+5)))
	}
	r.branch(t, 2, "1\t0/500100\tno recovery target specified\n")
	day := func(n int) time.Time { return time.Date(2026, 11, n, 10, 0, 0, 0, time.UTC) }
	r.placeBackup(t, "a", 1, 2, day(1))
	r.placeBackup(t, "b", 1, 8, day(2)) // on the branch that was left
	r.placeBackup(t, "c", 2, 9, day(10))
	r.placeBackup(t, "d", 2, 12, day(11))

	policy := retain.Policy{KeepLast: 9, WAL: retain.WALPolicy{Limited: true}}
	r.expire(t, policy, day(12))
	span := func(tli wal.Timeline, first, last uint64) string {
		return layout.Hole + mib.Name(tli, first) + "-" + mib.Name(tli, last)
	}
	want := []string{span(1, 3, 7), span(1, 9, 12), span(2, 5, 8), span(2, 10, 11)}
	same(t, "holes", keys(t, r, layout.Hole), want)

	c, err := r.Coverage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all, err := r.Backups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := holesShown(c.Holes(all)); got != fmt.Sprintf("%s 5 expired; %s 4 expired; %s 4 expired; %s 2 expired", want[0][5:], want[1][5:], want[2][5:], want[3][5:]) {
		t.Errorf("holes: %s", got)
	}
	for segment, there := range map[string]error{mib.Name(1, 5): ErrHole, mib.Name(1, 9): ErrHole, mib.Name(1, 12): ErrHole, mib.Name(1, 13): store.ErrNotExist, mib.Name(2, 15): store.ErrNotExist} {
		if _, _, err := get(t, nil, segment, r.Location); !errors.Is(err, there) || errors.Is(err, ErrHole) && errors.Is(err, store.ErrNotExist) {
			t.Errorf("%s: %v, want %v", segment, err, there)
		}
	}
	for _, d := range r.expire(t, policy, day(12)).Decisions {
		if !d.Keep {
			t.Errorf("the second time: %v", d)
		}
	}
	same(t, "holes", keys(t, r, layout.Hole), want)
}

// A removal of WAL that was cut short goes on, and says nothing twice.
func TestHolesAreRecordedOnce(t *testing.T) {
	r := repository(t)
	day := func(n int) time.Time { return time.Date(2026, 11, n, 10, 0, 0, 0, time.UTC) }
	for n := range 9 {
		r.mark(t, mib.Name(1, uint64(n+1)))
	}
	r.placeBackup(t, "a", 1, 1, day(1))
	r.placeBackup(t, "b", 1, 8, day(2))
	policy := retain.Policy{KeepLast: 9, WAL: retain.WALPolicy{Limited: true, Within: 36 * time.Hour}}
	e, err := r.Decide(t.Context(), policy, day(4))
	if err != nil {
		t.Fatal(err)
	}
	whole := r.Store
	r.Store = &dying{r.Store, 3}
	if err := e.Apply(t.Context(), 1, func(error) {}); err == nil {
		t.Error("what is left is not told")
	}
	r.Store = whole
	r.expire(t, policy, day(4))
	same(t, "WAL", keys(t, r, "wal/"), []string{layout.WALKey(name(t, mib.Name(1, 1))), layout.WALKey(name(t, mib.Name(1, 8))), layout.WALKey(name(t, mib.Name(1, 9)))})
	same(t, "holes", keys(t, r, layout.Hole), []string{layout.Hole + mib.Name(1, 2) + "-" + mib.Name(1, 7)})
	accepted, err := r.AcceptedHoles(t.Context())
	if err != nil || accepted[0].By != ByExpire || accepted[0].Reason != "expire --wal-keep 36h" {
		t.Errorf("%+v, %v", accepted, err)
	}
}

// What a removal has left that was killed, of a backup that does not say when it
// began, goes when all of it is old.
func TestLeavingsGrowOld(t *testing.T) {
	r := repository(t)
	now := time.Now()
	r.mark(t, mib.Name(1, 1))
	r.placeBackup(t, "whole", 1, 1, now.Add(72*time.Hour))
	r.place(t, layout.BaseKey("left", "000.tar"), []byte("x"))
	for hours, want := range map[int][]string{47: {layout.BaseKey("left", "000.tar")}, 0: {layout.BaseKey("left", "000.tar")}} {
		r.expire(t, retain.Policy{KeepLast: 1, Abandoned: Abandoned}, now.Add(time.Duration(hours)*time.Hour))
		same(t, "leavings", keys(t, r, layout.BaseKey("left", "")), want)
	}
	r.expire(t, retain.Policy{KeepLast: 1, Abandoned: Abandoned}, now.Add(49*time.Hour))
	same(t, "leavings", keys(t, r, layout.BaseKey("left", "")), nil)
}

// Of a timeline that was left a partial segment may be all that is there. It goes
// as a whole one would, as was said.
func TestPartialsExpire(t *testing.T) {
	r := repository(t)
	day := func(n int) time.Time { return time.Date(2026, 11, n, 10, 0, 0, 0, time.UTC) }
	partial := func(tli wal.Timeline, n uint64) string { return mib.Name(tli, n) + ".partial" }
	r.mark(t, mib.Name(2, 5), mib.Name(2, 6), mib.Name(3, 7), mib.Name(3, 8), partial(1, 5), partial(2, 7), partial(3, 9))
	r.place(t, layout.WALKey(name(t, partial(1, 5)))+".zst", nil)
	r.branch(t, 2, "1\t0/500100\tno recovery target specified\n")
	r.branch(t, 3, "1\t0/500100\tno recovery target specified\n2\t0/700100\tno recovery target specified\n")
	r.placeBackup(t, "a", 2, 5, day(1))
	r.placeBackup(t, "b", 3, 8, day(2))

	e := r.expire(t, retain.Policy{KeepLast: 2}, day(3))
	same(t, "left at first", keys(t, r, layout.WAL+"0"), walKeys(t, mib.Name(2, 5), mib.Name(2, 6), partial(2, 7), mib.Name(3, 7), mib.Name(3, 8), partial(3, 9)))
	same(t, "said", dropped(e), []string{partial(1, 5)})
	e = r.expire(t, retain.Policy{KeepLast: 1}, day(3))
	same(t, "left", keys(t, r, layout.WAL+"0"), walKeys(t, mib.Name(3, 8), partial(3, 9)))
	same(t, "said", dropped(e), []string{"a", mib.Name(2, 5) + ".." + mib.Name(2, 6), mib.Name(3, 7), partial(2, 7)})
}

func walKeys(t *testing.T, names ...string) (list []string) {
	t.Helper()
	for _, s := range names {
		list = append(list, layout.WALKey(name(t, s)))
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
			r := repository(t)
			at := map[int]string{}
			put := func(kind string, days []int, key, value string) {
				for _, n := range days {
					began := now.AddDate(0, 0, -n)
					if err := r.PutRecord(t.Context(), kind, began, key, value); err != nil {
						t.Fatal(err)
					}
					at[n] = recordKey(kind, began)
				}
			}
			put(KindVerify, test.full, "scope", "full")
			put(KindVerify, test.quick, "scope", "quick")
			put(KindDrill, test.passed, "result", "ok")
			put(KindDrill, test.failed, "result", "failed")
			r.place(t, "verify/notes", nil)
			all := keys(t, r, "")
			r.expire(t, retain.Policy{}, now)
			same(t, "without a rule", keys(t, r, ""), all)
			var gone []string
			for _, n := range test.gone {
				gone = append(gone, at[n])
			}
			slices.Sort(gone)
			said := dropped(r.expire(t, retain.Policy{KeepLast: 1}, now))
			slices.Sort(said)
			same(t, "said", said, gone)
			same(t, "records", keys(t, r, ""), slices.DeleteFunc(all, func(key string) bool { return slices.Contains(gone, key) }))
		})
	}
}

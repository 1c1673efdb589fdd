package archive

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgpipes/lib/lock"
	"pgpipes/lib/manifest"
	"pgpipes/lib/retain"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
)

// lineage fills a repository with backups, of which some use the part of one
// before them, and with the WAL of all.
func lineage(t *testing.T, seed uint64) *Repo {
	r, random := repository(t), rand.New(rand.NewPCG(seed, 0))
	for i := range 6 {
		label, parent := fmt.Sprintf("%c%d", "xyz"[random.IntN(3)], i), ""
		if all := labels(t, r); i > 0 && random.IntN(3) > 0 {
			parent = all[random.IntN(len(all))]
		}
		number := uint64(i + 1)
		stop := time.Date(2026, 11, 1+i, 0, 0, 0, 0, time.UTC)
		files, err := fixture.Backup{Label: label, Parent: parent, First: number, Last: number, Stop: stop}.Files()
		if err != nil {
			t.Fatal(err)
		}
		for name, contents := range files {
			r.place(t, baseKey(label, name), contents)
		}
		r.mark(t, r.SegmentSize.Name(1, number))
	}
	return r
}

func labels(t *testing.T, r *Repo) (list []string) {
	t.Helper()
	all, err := r.Backups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range all {
		if b.Lost != nil || b.Err != nil {
			t.Errorf("%s: %v, %v", b.Label, b.Lost, b.Err)
		}
		list = append(list, b.Label)
	}
	return list
}

// dying is a store whose process is killed after some removals.
type dying struct {
	store.Store
	left int
}

var errKilled = errors.New("killed")

func (d *dying) Remove(ctx context.Context, key string) error {
	if d.left--; d.left < 0 {
		return errKilled
	}
	return d.Store.Remove(ctx, key)
}

// Wherever an expiry is killed, each backup that is left with a manifest has
// all its parts, also those that others have stored.
func TestExpiryKilledAnywhere(t *testing.T) {
	dropped := 0
	for seed := range uint64(6) {
		for left := range 30 {
			r := lineage(t, seed)
			r.Store = &dying{r.Store, left}
			e, err := r.Decide(t.Context(), retain.Policy{KeepLast: 1 + int(seed%2)}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			err = e.Apply(t.Context(), 1, func(error) {})
			kept := labels(t, r)
			dropped += 6 - len(kept)
			if t.Failed() {
				t.Fatalf("seed %d, killed after %d removals: %v", seed, left, e.Decisions)
			}
			if err == nil {
				break
			}
		}
	}
	if dropped < 50 {
		t.Errorf("only %d backups dropped: the test proves nothing", dropped)
	}
}

// A backup that begins while another is being removed that it needs is safe,
// or is told.
func TestParentWentMeanwhile(t *testing.T) {
	r := lineage(t, 3)
	e, err := r.Decide(t.Context(), retain.Policy{KeepLast: 1}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	gone := e.childrenFirst()
	if len(gone) == 0 {
		t.Fatal("nothing is dropped")
	}
	h := manifest.Header{Label: "new", Parent: gone[0].Label, StartTimeline: 1, StartLSN: 0x600028, StartTime: time.Now()}
	if err := r.Begin(t.Context(), h, nil); err != nil {
		t.Fatal(err)
	}
	before := labels(t, r)
	if err := e.Apply(t.Context(), 1, func(error) {}); err == nil || !strings.Contains(err.Error(), "new") {
		t.Errorf("error %v", err)
	}
	if after := labels(t, r); !slices.Equal(after, before) {
		t.Errorf("%v is left of %v", after, before)
	}
	h.Label, h.Parent = "late", "none"
	if err := r.Begin(t.Context(), h, nil); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if slices.Contains(labels(t, r), "late") {
		t.Error("the record stays")
	}
}

func TestStart(t *testing.T) {
	r := repository(t)
	first := time.Date(2026, 11, 22, 10, 0, 0, 5000, time.UTC)
	begin := func(tli wal.Timeline, lsn wal.LSN, at time.Time, resume bool) error {
		left := &manifest.Header{}
		if !resume {
			left = nil
		}
		return r.Begin(t.Context(), manifest.Header{Label: "b", StartTimeline: tli, StartLSN: lsn, StartTime: at}, left)
	}
	if err := begin(1, 0x500028, first, true); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("nothing to go on with: %v", err)
	}
	steps := []struct {
		timeline wal.Timeline
		lsn      wal.LSN
		at       time.Time
		want     Start
	}{
		{1, 0x500028, first, Start{FirstTime: first, FirstTimeline: 1}},
		{1, 0x600028, first.Add(time.Hour), Start{FirstTime: first, FirstTimeline: 1}},
		{2, 0x700028, first.Add(-time.Hour), Start{FirstTime: first.Add(-time.Hour), FirstTimeline: 1}}, // the clock went back
		{2, 0x600028, first.Add(time.Hour), Start{FirstTime: first.Add(-time.Hour), FirstTimeline: 0}},  // the log went back
		{2, 0x800028, first.Add(2 * time.Hour), Start{FirstTime: first.Add(-time.Hour), FirstTimeline: 0}},
	}
	for i, s := range steps {
		if err := begin(s.timeline, s.lsn, s.at, i > 0); err != nil {
			t.Fatal(err)
		}
		if err := begin(s.timeline, s.lsn+1, s.at, false); !errors.Is(err, store.ErrDiffers) {
			t.Errorf("step %d: begun twice: %v", i, err)
		}
		s.want.Host, _ = os.Hostname()
		s.want.Timeline, s.want.LSN, s.want.Time = s.timeline, s.lsn, s.at
		if got, err := r.ReadStart(t.Context(), "b"); err != nil || got != s.want {
			t.Errorf("step %d: %+v, %v, want %+v", i, got, err, s.want)
		}
	}
	r.place(t, baseKey("b", manifestName), nil)
	if err := begin(2, 0x900028, first, true); !errors.Is(err, store.ErrDiffers) {
		t.Errorf("a complete one: %v", err)
	}
}

// A backup goes on with what is left of one when no expire is about to remove that,
// or is told that it has.
func TestGoesOnAfterExpire(t *testing.T) {
	for what, remove := range map[string]bool{"it stays": false, "it goes": true} {
		t.Run(what, func(t *testing.T) {
			r := repository(t)
			r.left(t, "b", "", time.Now())
			left, parts, err := r.Leftover(t.Context(), "b")
			if err != nil || len(parts) != 1 {
				t.Fatalf("%d parts, %v", len(parts), err)
			}
			info, err := r.Stat(t.Context(), parts[0].Key)
			if err != nil {
				t.Fatal(err)
			}
			parts[0].Size, left.Parts = info.Size, parts
			var expired atomic.Bool
			begun := make(chan error)
			err = lock.Hold(t.Context(), r.Store, ExpireLock, "expire", 0, func(context.Context) error {
				go func() {
					h := manifest.Header{Label: "b", StartTimeline: 1, StartLSN: 0x300028, StartTime: time.Now()}
					err := r.Begin(context.Background(), h, &left)
					if !expired.Load() {
						t.Error("it did not wait")
					}
					begun <- err
				}()
				time.Sleep(200 * time.Millisecond)
				expired.Store(true)
				if remove {
					return r.Remove(t.Context(), parts[0].Key)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := <-begun; errors.Is(err, store.ErrNotExist) != remove || (err == nil) == remove {
				t.Errorf("error %v", err)
			}
		})
	}
}

func FuzzStart(f *testing.F) {
	f.Add([]byte("host\th\npid\t1\ntimeline\t1\nstart-lsn\t0/2000028\ntime\t2026-11-22T10:15:00.5Z\nparent\tx\nfirst-timeline\t2\nfirst-time\t2026-11-22T10:00:00Z\n"))
	f.Add([]byte("timeline\t1"))
	f.Add([]byte("timeline\t1\nstart-lsn\t0/2000028\ntime\t2026-11-22T10:15:00Z\nchecksums\ton\nblock-size\t8192\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseStart(text)
		if err != nil {
			return
		}
		again, err := parseStart([]byte(s.text()))
		again.Host = s.Host // it is always this one that writes
		if err != nil || again.Parent != s.Parent || again.LSN != s.LSN || !again.FirstTime.Equal(s.FirstTime) {
			t.Errorf("%+v, then %+v, %v", s, again, err)
		}
	})
}

package expire

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/layout"
	"pgpipes/lib/manifest"
	"pgpipes/lib/retain"
	"pgpipes/lib/store"
	"pgpipes/test/fixture"
	"pgpipes/test/repository"
)

// left makes what an interrupted backup has left: its start, and a part.
func left(t *testing.T, r *archive.Repo, label, parent string, began time.Time) {
	t.Helper()
	h := manifest.Header{Label: label, Parent: parent, StartTimeline: 1, StartLSN: 0x200028, StartTime: began}
	if err := r.Begin(t.Context(), h, nil); err != nil {
		t.Fatal(err)
	}
	fixture.Place(t, r.Location, layout.BaseKey(label, "000.tar"), []byte("the tar of "+label))
}

// increment is a complete one that uses the part of another backup, and needs the
// segment of this number.
func increment(t *testing.T, r *archive.Repo, label, parent string, segment uint64) {
	t.Helper()
	files, err := fixture.Backup{Label: label, Parent: parent, First: segment, Last: segment, Stop: time.Now()}.Files()
	if err != nil {
		t.Fatal(err)
	}
	for file, contents := range files {
		fixture.Place(t, r.Location, layout.BaseKey(label, file), contents)
	}
}

// Said to be abandoned, what a backup has left goes at once, though it may have
// been given up because it was not whole: but for what a manifest or the start of
// another one names, and what is pinned. Nothing else goes.
func TestAbandon(t *testing.T) {
	r := repository.New(t)
	fixture.Mark(t, r.Location, mib.Name(1, 1), mib.Name(1, 2), mib.Name(1, 4)) // without 3, of a backup that is damaged
	now := time.Now()
	placeBackup(t, r, "damaged", 1, 3, now)
	left(t, r, "given-up", "", now)
	increment(t, r, "increment", "given-up", 2)
	left(t, r, "pinned", "", now)
	placeBackup(t, r, "whole", 1, 4, now)
	left(t, r, "dead", "whole", now)
	left(t, r, "orphan", "", now)
	if err := r.Remove(t.Context(), layout.BaseKey("orphan", layout.Start)); err != nil {
		t.Fatal(err)
	}
	if err := r.Pin(t.Context(), "pinned", "to look into"); err != nil {
		t.Fatal(err)
	}
	before := repository.Keys(t, r, "")
	p := retain.Policy{Abandon: []string{"given-up", "pinned", "dead", "orphan", "whole", "nobody"}}
	e := expire(t, r, p, now)
	want := slices.DeleteFunc(before, func(key string) bool {
		return strings.HasPrefix(key, layout.BaseKey("dead", "")) || strings.HasPrefix(key, layout.BaseKey("orphan", ""))
	})
	same(t, "left", repository.Keys(t, r, ""), want)
	for _, d := range e.Decisions {
		if want := d.Name != "dead" && d.Name != "orphan"; d.Keep != want {
			t.Errorf("%v", d)
		}
	}

	// With a rule what is damaged stops it all, and the error says who needs what.
	fixture.Place(t, r.Location, layout.BaseKey("given-up", layout.Manifest), []byte("torn"))
	for _, p := range []retain.Policy{{KeepLast: 1}, p} {
		_, err := Decide(t.Context(), r, p, now)
		var broken *NotWhole
		if p.Rules() && (!errors.As(err, &broken) || broken.Label != "damaged") {
			t.Errorf("with a rule: %v", err)
		}
		if !p.Rules() && (!errors.As(err, &broken) || broken.Label != "given-up" || !slices.Equal(broken.NeededBy, []string{"increment"})) {
			t.Errorf("without: %v", err)
		}
	}
}

// A hooked store has something done just before a step of an expiry.
type hooked struct {
	store.Store
	before func(what, key string)
}

func (h hooked) Remove(ctx context.Context, key string) error {
	h.before("remove", key)
	return h.Store.Remove(ctx, key)
}

func (h hooked) Stat(ctx context.Context, key string) (store.Info, error) {
	h.before("stat", key)
	return h.Store.Stat(ctx, key)
}

// A backup that was thought to be dead and is completed, or gone on with, just
// before one of the last steps of its removal, is told from a dead one.
func TestAbandonedIsAlive(t *testing.T) {
	for what, test := range map[string]struct {
		before, key string
		do          func(r *archive.Repo)
		stays       []string
	}{
		"completed": {"stat", layout.BaseKey("b", layout.Manifest), func(r *archive.Repo) { increment(t, r, "b", "whole", 1) },
			[]string{layout.BaseKey("b", "000.tar"), layout.BaseKey("b", layout.Manifest), layout.BaseKey("b", layout.Start), layout.BaseKey("whole", "000.tar")}},
		"gone on with": {"remove", layout.BaseKey("b", "000.tar"), func(r *archive.Repo) {
			h := manifest.Header{Label: "b", StartTimeline: 1, StartLSN: 0x300028, StartTime: time.Now()}
			if err := r.Begin(context.Background(), h, &manifest.Header{}); err != nil {
				t.Error(err)
			}
		}, []string{layout.BaseKey("b", layout.Start)}},
	} {
		t.Run(what, func(t *testing.T) {
			r := repository.New(t)
			fixture.Mark(t, r.Location, mib.Name(1, 1))
			placeBackup(t, r, "whole", 1, 1, time.Now())
			left(t, r, "b", "", time.Now())
			e, err := Decide(t.Context(), r, retain.Policy{Abandon: []string{"b"}}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			plain, done := *r, false
			r.Store = hooked{r.Store, func(op, key string) {
				if !done && op == test.before && key == test.key {
					done = true
					test.do(&plain)
				}
			}}
			if err := e.Apply(t.Context(), 1, func(error) {}); err == nil || !done {
				t.Errorf("nothing is said of it, or it did not come to that: %v", done)
			}
			for _, key := range test.stays {
				if _, err := plain.Stat(t.Context(), key); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A backup that takes days is at work as long as parts come.
func TestSlowBackupIsNotAbandoned(t *testing.T) {
	r := repository.New(t)
	now := time.Now()
	fixture.Mark(t, r.Location, mib.Name(1, 1), mib.Name(1, 2))
	placeBackup(t, r, "whole", 1, 2, now)
	left(t, r, "slow", "", now.Add(-72*time.Hour))
	policy := retain.Policy{KeepLast: 1, Abandoned: archive.Abandoned}
	expire(t, r, policy, now)
	if len(repository.Keys(t, r, layout.BaseKey("slow", ""))) != 2 {
		t.Error("it was removed")
	}
	s := archive.Survey{At: now}
	all, err := r.Backups(t.Context())
	if err != nil || s.State(all[0]) != archive.BackupInProgress {
		t.Errorf("%s: %s, %v", all[0].Label, s.State(all[0]), err)
	}
	expire(t, r, policy, now.Add(49*time.Hour))
	same(t, "left", repository.Keys(t, r, layout.BaseKey("slow", "")), nil)
}

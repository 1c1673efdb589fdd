package archive

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/manifest"
	"pgpipes/lib/retain"
	"pgpipes/lib/store"
	"pgpipes/test/fixture"
)

// left makes what an interrupted backup has left: its start, and a part.
func (r *Repo) left(t *testing.T, label, parent string, began time.Time) {
	t.Helper()
	h := manifest.Header{Label: label, Parent: parent, StartTimeline: 1, StartLSN: 0x200028, StartTime: began}
	if err := r.Begin(t.Context(), h, nil); err != nil {
		t.Fatal(err)
	}
	r.place(t, baseKey(label, "000.tar"), []byte("the tar of "+label))
}

// increment is a complete one that uses the part of another backup, and needs the
// segment of this number.
func (r *Repo) increment(t *testing.T, label, parent string, segment uint64) {
	t.Helper()
	files, err := fixture.Backup{Label: label, Parent: parent, First: segment, Last: segment, Stop: time.Now()}.Files()
	if err != nil {
		t.Fatal(err)
	}
	for file, contents := range files {
		r.place(t, baseKey(label, file), contents)
	}
}

// Said to be abandoned, what a backup has left goes at once, though it may have
// been given up because it was not whole: but for what a manifest or the start of
// another one names, and what is pinned. Nothing else goes.
func TestAbandon(t *testing.T) {
	r := repository(t)
	r.mark(t, mib.Name(1, 1), mib.Name(1, 2), mib.Name(1, 4)) // without 3, of a backup that is damaged
	now := time.Now()
	r.placeBackup(t, "damaged", 1, 3, now)
	r.left(t, "given-up", "", now)
	r.increment(t, "increment", "given-up", 2)
	r.left(t, "pinned", "", now)
	r.placeBackup(t, "whole", 1, 4, now)
	r.left(t, "dead", "whole", now)
	r.left(t, "orphan", "", now)
	if err := r.Remove(t.Context(), baseKey("orphan", startName)); err != nil {
		t.Fatal(err)
	}
	if err := r.Pin(t.Context(), "pinned", "to look into"); err != nil {
		t.Fatal(err)
	}
	before := keys(t, r, "")
	p := retain.Policy{Abandon: []string{"given-up", "pinned", "dead", "orphan", "whole", "nobody"}}
	e := r.expire(t, p, now)
	want := slices.DeleteFunc(before, func(key string) bool {
		return strings.HasPrefix(key, baseKey("dead", "")) || strings.HasPrefix(key, baseKey("orphan", ""))
	})
	same(t, "left", keys(t, r, ""), want)
	for _, d := range e.Decisions {
		if want := d.Name != "dead" && d.Name != "orphan"; d.Keep != want {
			t.Errorf("%v", d)
		}
	}

	// With a rule what is damaged stops it all, and the error says who needs what.
	r.place(t, baseKey("given-up", manifestName), []byte("torn"))
	for _, p := range []retain.Policy{{KeepLast: 1}, p} {
		_, err := r.Decide(t.Context(), p, now)
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
		do          func(r *Repo)
		stays       []string
	}{
		"completed": {"stat", baseKey("b", manifestName), func(r *Repo) { r.increment(t, "b", "whole", 1) },
			[]string{baseKey("b", "000.tar"), baseKey("b", manifestName), baseKey("b", startName), baseKey("whole", "000.tar")}},
		"gone on with": {"remove", baseKey("b", "000.tar"), func(r *Repo) {
			h := manifest.Header{Label: "b", StartTimeline: 1, StartLSN: 0x300028, StartTime: time.Now()}
			if err := r.Begin(context.Background(), h, &manifest.Header{}); err != nil {
				t.Error(err)
			}
		}, []string{baseKey("b", startName)}},
	} {
		t.Run(what, func(t *testing.T) {
			r := repository(t)
			r.mark(t, mib.Name(1, 1))
			r.placeBackup(t, "whole", 1, 1, time.Now())
			r.left(t, "b", "", time.Now())
			e, err := r.Decide(t.Context(), retain.Policy{Abandon: []string{"b"}}, time.Now())
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
	r := repository(t)
	now := time.Now()
	r.mark(t, mib.Name(1, 1), mib.Name(1, 2))
	r.placeBackup(t, "whole", 1, 2, now)
	r.left(t, "slow", "", now.Add(-72*time.Hour))
	policy := retain.Policy{KeepLast: 1, Abandoned: Abandoned}
	r.expire(t, policy, now)
	if len(keys(t, r, baseKey("slow", ""))) != 2 {
		t.Error("it was removed")
	}
	s := Survey{At: now}
	all, err := r.Backups(t.Context())
	if err != nil || s.State(all[0]) != BackupInProgress {
		t.Errorf("%s: %s, %v", all[0].Label, s.State(all[0]), err)
	}
	r.expire(t, policy, now.Add(49*time.Hour))
	same(t, "left", keys(t, r, baseKey("slow", "")), nil)
}

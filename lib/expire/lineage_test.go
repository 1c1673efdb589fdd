package expire

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/layout"
	"pgpipes/lib/lock"
	"pgpipes/lib/manifest"
	"pgpipes/lib/retain"
	"pgpipes/lib/store"
	"pgpipes/test/fixture"
	"pgpipes/test/repository"
)

// lineage fills a repository with backups, of which some use the part of one
// before them, and with the WAL of all.
func lineage(t *testing.T, seed uint64) *archive.Repo {
	r, random := repository.New(t), rand.New(rand.NewPCG(seed, 0))
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
			fixture.Place(t, r.Location, layout.BaseKey(label, name), contents)
		}
		fixture.Mark(t, r.Location, r.SegmentSize.Name(1, number))
	}
	return r
}

func labels(t *testing.T, r *archive.Repo) (list []string) {
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
			e, err := Decide(t.Context(), r, retain.Policy{KeepLast: 1 + int(seed%2)}, time.Now())
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

// Leases that may not be removed are told of once, and fail nothing.
func TestLeasesOfAnotherUser(t *testing.T) {
	r := lineage(t, 3)
	for _, epoch := range []string{"0000000001", "0000000002", "0000000003"} {
		fixture.Place(t, r.Location, "lease/backup/"+epoch, nil)
	}
	s := foreign{r.Store}
	e, err := Decide(t.Context(), &archive.Repo{Store: s, Location: r.Location, Identity: r.Identity}, retain.Policy{KeepLast: 1}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var warned []string
	if err := e.Apply(t.Context(), 2, func(err error) { warned = append(warned, err.Error()) }); err != nil {
		t.Error(err)
	}
	if len(warned) != 1 || !strings.Contains(warned[0], "leases that do not count any more stay: ") {
		t.Errorf("warned of %q", warned)
	}
}

// foreign is a store whose leases are another user's.
type foreign struct{ store.Store }

func (f foreign) Remove(ctx context.Context, key string) error {
	if strings.HasPrefix(key, "lease/") {
		return fs.ErrPermission
	}
	return f.Store.Remove(ctx, key)
}

// A backup that begins while another is being removed that it needs is safe,
// or is told.
func TestParentWentMeanwhile(t *testing.T) {
	r := lineage(t, 3)
	e, err := Decide(t.Context(), r, retain.Policy{KeepLast: 1}, time.Now())
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

// A backup goes on with what is left of one when no expire is about to remove that,
// or is told that it has.
func TestGoesOnAfterExpire(t *testing.T) {
	for what, remove := range map[string]bool{"it stays": false, "it goes": true} {
		t.Run(what, func(t *testing.T) {
			r := repository.New(t)
			left(t, r, "b", "", time.Now())
			header, parts, err := r.Leftover(t.Context(), "b")
			if err != nil || len(parts) != 1 {
				t.Fatalf("%d parts, %v", len(parts), err)
			}
			info, err := r.Stat(t.Context(), parts[0].Key)
			if err != nil {
				t.Fatal(err)
			}
			parts[0].Size, header.Parts = info.Size, parts
			var expired atomic.Bool
			begun, waiting := make(chan error, 1), make(chan bool)
			err = lock.Hold(t.Context(), r.Store, archive.ExpireLock, "expire", 0, func(context.Context) error {
				ctx := &patient{Context: context.Background(), waiting: sync.OnceFunc(func() { close(waiting) })}
				resuming := &archive.Repo{Store: files{r.Store, ctx}, Location: r.Location, Identity: r.Identity}
				go func() {
					h := manifest.Header{Label: "b", StartTimeline: 1, StartLSN: 0x300028, StartTime: time.Now()}
					err := resuming.Begin(ctx, h, &header)
					if !expired.Load() {
						t.Error("it did not wait")
					}
					begun <- err
				}()
				select {
				case <-waiting:
				case err := <-begun:
					return fmt.Errorf("it has begun, %v", err)
				}
				expired.Store(true)
				if remove {
					return r.Remove(t.Context(), parts[0].Key)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			err = <-begun
			if told := err != nil && strings.Contains(err.Error(), "b: what was left of it has been removed meanwhile: "); told != remove || (err == nil) == remove || errors.Is(err, store.ErrNotExist) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// patient is a context that tells when somebody who has asked for a lock waits for it,
// or for the end of the context.
type patient struct {
	context.Context
	asked   atomic.Bool
	waiting func()
}

func (p *patient) Done() <-chan struct{} {
	if p.asked.Load() {
		p.waiting()
	}
	return p.Context.Done()
}

// files is a store whose locks are asked for by a patient one.
type files struct {
	store.Store
	by *patient
}

func (f files) LockFile(name string) (string, error) {
	f.by.asked.Store(true)
	return f.Store.(lock.Files).LockFile(name)
}

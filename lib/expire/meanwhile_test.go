package expire

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/layout"
	"pgpipes/lib/manifest"
	"pgpipes/lib/retain"
	"pgpipes/lib/store"
)

// interrupted is a store in which somebody else does something just before one
// of the steps of an expiry.
type interrupted struct {
	store.Store
	left int
	do   func()
}

func (i *interrupted) step() {
	if i.left--; i.left == 0 {
		i.do()
	}
}

func (i *interrupted) Remove(ctx context.Context, key string) error {
	i.step()
	return i.Store.Remove(ctx, key)
}

func (i *interrupted) List(ctx context.Context, prefix, after string) iter.Seq2[store.Info, error] {
	i.step()
	return i.Store.List(ctx, prefix, after)
}

// Whoever begins to use a backup while expire is removing it is told that it has
// gone, or finds all that it needs.
func TestUsedWhileItIsRemoved(t *testing.T) {
	uses := map[string]func(r *archive.Repo, label string) error{
		"restore": func(r *archive.Repo, label string) error {
			_, err := r.BeginRestore(context.Background(), label, time.Now(), time.Now().Add(time.Hour))
			return err
		},
		"increment": func(r *archive.Repo, label string) error {
			h := manifest.Header{Label: "zz-new", Parent: label, StartTimeline: 1, StartLSN: 0x900028, StartTime: time.Now()}
			return r.Begin(context.Background(), h, nil)
		},
		"pin": func(r *archive.Repo, label string) error { return r.Pin(context.Background(), label, "why") },
	}
	for name, use := range uses {
		t.Run(name, func(t *testing.T) {
			told, let := 0, 0
			for seed := range uint64(2) {
				for left := 1; ; left++ {
					done, err := useAtStep(t, seed, left, use)
					if !done {
						break
					}
					if err == nil {
						let++
					} else {
						told++
					}
				}
			}
			if told < 5 || let < 5 {
				t.Errorf("told %d times, let %d times: the test proves nothing", told, let)
			}
		})
	}
}

// useAtStep has the oldest backup used at a step of its removal. It reports
// whether there was such a step, and what the user was told.
func useAtStep(t *testing.T, seed uint64, left int, use func(r *archive.Repo, label string) error) (done bool, told error) {
	t.Helper()
	r := lineage(t, seed)
	e, err := Decide(t.Context(), r, retain.Policy{KeepLast: 1}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dropped := e.childrenFirst()
	if len(dropped) == 0 {
		return false, nil
	}
	var needs []string
	b := dropped[len(dropped)-1]
	for _, p := range b.Header.Parts {
		needs = append(needs, p.Key)
	}
	plain := *r
	wasListed := false
	r.Store = &interrupted{r.Store, left, func() {
		_, err := plain.Stat(t.Context(), layout.BaseKey(b.Label, layout.Manifest))
		done, wasListed = true, err == nil
		told = use(&plain, b.Label)
	}}
	failed := e.Apply(t.Context(), 1, func(error) {})
	if !done || told != nil {
		if told != nil && !errors.Is(told, store.ErrNotExist) {
			t.Errorf("seed %d, step %d: %v", seed, left, told)
		}
		return done, told
	}
	for _, key := range needs {
		if _, err := plain.Stat(t.Context(), key); wasListed && err != nil {
			t.Errorf("seed %d, step %d: %s is used, but %v (%v)", seed, left, b.Label, err, failed)
		}
	}
	if wasListed && failed == nil {
		told = fmt.Errorf("seed %d, step %d: expire does not say so", seed, left)
		t.Error(told)
	}
	return done, nil
}

// Two at once, of the same policy or of others, leave nothing half: what one has
// removed the other does not miss.
func TestTwoExpiries(t *testing.T) {
	for seed := range uint64(2) {
		for left := 1; left < 40; left += 3 {
			r := lineage(t, seed)
			plain := *r
			first, err := Decide(t.Context(), r, retain.Policy{KeepLast: 1}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			second, err := Decide(t.Context(), &plain, retain.Policy{KeepLast: 1 + left%3}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			r.Store = &interrupted{r.Store, left, func() {
				if err := second.Apply(context.Background(), 2, func(err error) { t.Error(err) }); err != nil {
					t.Errorf("seed %d, step %d, the second: %v", seed, left, err)
				}
			}}
			if err := first.Apply(t.Context(), 1, func(err error) { t.Error(err) }); err != nil {
				t.Errorf("seed %d, step %d, the first: %v", seed, left, err)
			}
			if all := labels(t, &plain); len(all) == 0 {
				t.Errorf("seed %d, step %d: nothing is left", seed, left)
			}
			if e, err := Decide(t.Context(), &plain, retain.Policy{KeepLast: 1}, time.Now()); err != nil || len(e.childrenFirst()) > 0 {
				t.Errorf("seed %d, step %d: there is more to do: %v", seed, left, err)
			}
		}
	}
}

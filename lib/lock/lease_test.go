package lock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"pgpipes/lib/store"
)

const term = 400 * time.Millisecond

func place(t *testing.T) store.Store {
	t.Helper()
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func take(s store.Store, who string, patience time.Duration) (*Lease, error) {
	return Take(context.Background(), s, "backup", who, term, patience)
}

func mustTake(t *testing.T, s store.Store, who string, patience time.Duration) *Lease {
	t.Helper()
	l, err := take(s, who, patience)
	if err != nil {
		t.Fatalf("%s: %v", who, err)
	}
	return l
}

func TestLease(t *testing.T) {
	ctx, s := context.Background(), place(t)
	first := mustTake(t, s, "first", 0)
	if _, err := take(s, "second", 0); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "first") {
		t.Errorf("busy: %v", err)
	}
	for range 3 {
		if err := errors.Join(first.Renew(ctx), first.Held(ctx)); err != nil {
			t.Error(err)
		}
	}
	if err := first.Release(ctx); err != nil {
		t.Error(err)
	}
	second := mustTake(t, s, "second", 0)
	for what, err := range map[string]error{"Renew": first.Renew(ctx), "Held": first.Held(ctx)} {
		if !errors.Is(err, ErrLost) {
			t.Errorf("%s after another took it: %v", what, err)
		}
	}
	if err := second.Held(ctx); err != nil {
		t.Error(err)
	}
}

// One that is not renewed goes to who waits for it, and a holder that was away
// all the time finds out, also when the other one has given it up again.
func TestLeaseExpires(t *testing.T) {
	ctx, s := context.Background(), place(t)
	away := mustTake(t, s, "away", 0)
	began := time.Now()
	next := mustTake(t, s, "next", time.Minute)
	if waited := time.Since(began); waited < term {
		t.Errorf("taken over after %s", waited)
	}
	if err := next.Release(ctx); err != nil {
		t.Error(err)
	}
	if err := away.Renew(ctx); !errors.Is(err, ErrLost) {
		t.Errorf("the one that was away: %v", err)
	}
}

// Without patience, too, what was left behind long ago is found to be dead.
func TestLeaseLeftBehind(t *testing.T) {
	s := place(t)
	mustTake(t, s, "dead", 0)
	time.Sleep(term + 10*time.Millisecond) // so that it looks old
	mustTake(t, s, "next", 0)
}

// A clock that is wrong can only make somebody look for longer.
func TestLeaseLooksOldAndIsAlive(t *testing.T) {
	s := place(t)
	ctx, over := context.WithCancel(context.Background())
	holder := mustTake(t, s, "holder", 0)
	kept := make(chan error)
	go func() { kept <- holder.Keep(ctx) }()
	if _, err := Take(context.Background(), skewed{s}, "backup", "other", term, 0); !errors.Is(err, ErrBusy) {
		t.Errorf("taken: %v", err)
	}
	over()
	if err := <-kept; err != nil {
		t.Error(err)
	}
}

// skewed is a store whose clock is an hour behind.
type skewed struct{ store.Store }

func (s skewed) List(ctx context.Context, prefix, after string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		for info, err := range s.Store.List(ctx, prefix, after) {
			info.ModTime = info.ModTime.Add(-time.Hour)
			if !yield(info, err) {
				return
			}
		}
	}
}

// Keep says in time that it cannot keep a lease: before others may take it.
func TestLeaseLostToOutage(t *testing.T) {
	s := place(t)
	broken := &breakable{Store: s}
	holder := mustTake(t, broken, "holder", 0)
	broken.set(errors.New("no route"))
	began := time.Now()
	if err := holder.Keep(context.Background()); !errors.Is(err, ErrLost) {
		t.Errorf("error %v", err)
	}
	if took := time.Since(began); took > term {
		t.Errorf("only after %s", took)
	}
}

type breakable struct {
	store.Store
	mu  sync.Mutex
	err error
}

func (b *breakable) set(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *breakable) Put(ctx context.Context, key string, write func(io.Writer) error) (store.Receipt, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return store.Receipt{}, b.err
	}
	return b.Store.Put(ctx, key, write)
}

// Of many that want it one has it at a time. The term is longer than a slow disk
// makes a turn.
func TestLeaseExcludes(t *testing.T) {
	ctx, s := context.Background(), place(t)
	var all sync.WaitGroup
	var inside, turns int
	var mu sync.Mutex
	for i := range 8 {
		all.Go(func() {
			l, err := Take(ctx, s, "backup", fmt.Sprint(i), 10*term, time.Minute)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			inside++
			turns++
			if inside > 1 {
				t.Error("two at once")
			}
			mu.Unlock()
			mu.Lock()
			inside--
			mu.Unlock()
			if err := l.Release(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if turns != 8 {
		t.Errorf("%d turns", turns)
	}
}

// Who may only add to a store has leases, too.
func TestLeaseWithoutRemoval(t *testing.T) {
	ctx, s := context.Background(), addOnly{place(t)}
	for _, who := range []string{"first", "second"} {
		l := mustTake(t, s, who, 0)
		if err := errors.Join(l.Renew(ctx), l.Held(ctx)); err != nil {
			t.Error(err)
		}
		if _, err := take(s, "other", 0); !errors.Is(err, ErrBusy) {
			t.Errorf("taken: %v", err)
		}
		if err := l.Release(ctx); err != nil {
			t.Error(err)
		}
	}
}

type addOnly struct{ store.Store }

func (addOnly) Remove(context.Context, string) error { return errors.New("permission denied") }

func TestLeaseAdopt(t *testing.T) {
	ctx, s := context.Background(), place(t)
	l := mustTake(t, s, "a: b\tc", 0)
	other, err := Adopt(s, "backup", l.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(other.Renew(ctx), l.Held(ctx), other.Release(ctx)); err != nil {
		t.Error(err)
	}
	for _, text := range []string{"", "1:2", "x:t:1s:h", "1:t:x:h"} {
		if _, err := Adopt(s, "backup", text); err == nil {
			t.Errorf("%q", text)
		}
	}
}

func FuzzParseLease(f *testing.F) {
	f.Add(leaseNote{"t", "h", time.Second}.text())
	f.Add(leaseNote{}.text())
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if n := parseLease(text); n.term < 0 || n.term > longestTerm || n.token != "" && n.term == 0 {
			t.Errorf("%+v", n)
		}
	})
}

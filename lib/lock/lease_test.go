package lock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgpipes/lib/store"
	"pgpipes/lib/wait"
)

const (
	term     = time.Second      // of leases that shall expire
	longTerm = 15 * time.Second // of others
)

func place(t *testing.T) store.Store {
	t.Helper()
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func take(s store.Store, who string, patience time.Duration) (*Lease, error) {
	return Take(context.Background(), s, "backup", who, longTerm, patience)
}

func mustTake(t *testing.T, s store.Store, who string) *Lease {
	t.Helper()
	l, err := take(s, who, 0)
	if err != nil {
		t.Fatalf("%s: %v", who, err)
	}
	return l
}

// brief takes a lease that expires soon.
func brief(t *testing.T, s store.Store, who string, patience time.Duration) *Lease {
	t.Helper()
	l, err := Take(context.Background(), s, "backup", who, term, patience)
	if err != nil {
		t.Fatalf("%s: %v", who, err)
	}
	return l
}

func TestLease(t *testing.T) {
	ctx, s := context.Background(), place(t)
	first := mustTake(t, s, "first")
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
	second := mustTake(t, s, "second")
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
	away := brief(t, s, "away", 0)
	began := time.Now()
	next := brief(t, s, "next", time.Minute)
	if waited := time.Since(began); waited < term {
		t.Errorf("taken over after %s", waited)
	}
	if err := next.Release(ctx); err != nil {
		t.Error(err)
	}
	if err := away.Renew(ctx); !errors.Is(err, ErrLost) {
		t.Errorf("the one that was away: %v", err)
	}
	if err := away.renew(ctx); !errors.Is(err, ErrLost) {
		t.Errorf("the one that was away, and does not know it: %v", err)
	}
}

// Without patience, too, what was left behind long ago is found to be dead.
func TestLeaseLeftBehind(t *testing.T) {
	s := place(t)
	brief(t, s, "dead", 0)
	time.Sleep(term + 10*time.Millisecond) // so that it looks old
	brief(t, s, "next", 0)
}

// It is, too, when the clock of the store is ahead.
func TestLeaseLeftInTheFuture(t *testing.T) {
	s := place(t)
	brief(t, s, "dead", 0)
	if _, err := Take(t.Context(), skewed{s, time.Hour}, "backup", "other", term, 0); err != nil {
		t.Error(err)
	}
}

// Without patience, too, it is waited for somebody who is just giving it up.
func TestLeaseGivenUpJustNow(t *testing.T) {
	s := place(t)
	holder := brief(t, s, "holder", 0)
	giving := &thenDone{Store: s, do: sync.OnceFunc(func() {
		if err := holder.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})}
	if _, err := Take(t.Context(), giving, "backup", "other", longTerm, 0); err != nil {
		t.Error(err)
	}
}

// thenDone is a store in which something is done when an object has been opened.
type thenDone struct {
	store.Store
	do func()
}

func (s *thenDone) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	body, err := s.Store.Get(ctx, key, offset, length)
	s.do()
	return body, err
}

// A clock that is wrong can only make somebody look for longer.
func TestLeaseLooksOldAndIsAlive(t *testing.T) {
	for _, by := range []time.Duration{-time.Hour, time.Hour} {
		s := place(t)
		ctx, over := context.WithCancel(context.Background())
		holder := brief(t, s, "holder", 0)
		kept := make(chan error)
		go func() { kept <- holder.Keep(ctx) }()
		if _, err := Take(context.Background(), skewed{s, by}, "backup", "other", term, 0); !errors.Is(err, ErrBusy) {
			t.Errorf("taken: %v", err)
		}
		over()
		if err := <-kept; err != nil {
			t.Error(err)
		}
	}
}

// skewed is a store whose clock is wrong.
type skewed struct {
	store.Store
	by time.Duration
}

func (s skewed) List(ctx context.Context, prefix, after string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		for info, err := range s.Store.List(ctx, prefix, after) {
			info.ModTime = info.ModTime.Add(s.by)
			if !yield(info, err) {
				return
			}
		}
	}
}

// Keep says in time that it cannot keep a lease: before others may take it.
func TestLeaseLostToOutage(t *testing.T) {
	s := place(t)
	broken := &faulty{Store: s, put: func(int) error { return errNoRoute }}
	holder := brief(t, s, "holder", 0)
	holder.store = broken
	began := time.Now()
	if err := holder.Keep(context.Background()); !errors.Is(err, ErrLost) {
		t.Errorf("error %v", err)
	}
	if took := time.Since(began); took > term {
		t.Errorf("only after %s", took)
	}
}

var errNoRoute = errors.New("no route")

// faulty is a store some of whose requests fail, before they do anything or after.
type faulty struct {
	store.Store
	put    func(n int) error // the n-th Put is answered with this in place of being done
	answer func(n int) error // so is this one, and done
	remove error
	mu     sync.Mutex
	puts   int
	rms    int
}

func (f *faulty) Put(ctx context.Context, key string, write func(io.Writer) error) (store.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.puts++
	if f.put != nil {
		if err := f.put(f.puts); err != nil {
			return store.Receipt{}, err
		}
	}
	receipt, err := f.Store.Put(ctx, key, write)
	if err == nil && f.answer != nil {
		err = f.answer(f.puts)
	}
	return receipt, err
}

func (f *faulty) Remove(ctx context.Context, key string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rms++
	if f.remove != nil {
		return f.remove
	}
	return f.Store.Remove(ctx, key)
}

// atFirst is an error of the first requests.
func atFirst(times int, err error) func(int) error {
	return func(n int) error {
		if n <= times {
			return err
		}
		return nil
	}
}

// A failure that passes loses nothing, nor does an attempt that gets no answer.
func TestLeaseOutlivesFailures(t *testing.T) {
	ctx, s := context.Background(), place(t)
	for what, broken := range map[string]store.Store{
		"failures": &faulty{Store: s, put: atFirst(2, errNoRoute)}, "silence": &silent{Store: s},
	} {
		l := brief(t, s, "holder", 0)
		l.store = broken
		if err := errors.Join(l.Renew(ctx), l.Held(ctx), l.Release(ctx)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// silent is a store that does not answer the first Put.
type silent struct {
	store.Store
	asked bool
}

func (s *silent) Put(ctx context.Context, key string, write func(io.Writer) error) (store.Receipt, error) {
	if !s.asked {
		s.asked = true
		<-ctx.Done()
		return store.Receipt{}, context.Cause(ctx)
	}
	return s.Store.Put(ctx, key, write)
}

// The term counts from before the lease was taken, whoever renews it then.
func TestLeaseCountsFromItsClaim(t *testing.T) {
	s := place(t)
	l := brief(t, s, "holder", 0)
	if !sleepUntil(context.Background(), l.since+term*5/8) {
		t.Fatal("woken")
	}
	keeper, err := Adopt(&faulty{Store: s, put: func(int) error { return errNoRoute }}, "backup", l.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := keeper.Keep(context.Background()); !errors.Is(err, ErrLost) {
		t.Errorf("error %v", err)
	}
	if age := uptime() - l.since; age > term {
		t.Errorf("lost when others have seen it for %s", age)
	}
}

// So it does from before a renewal that was done although it seemed to fail.
func TestLeaseCountsFromFirstAttempt(t *testing.T) {
	s := place(t)
	var done time.Duration
	l := mustTake(t, s, "holder")
	l.store = &faulty{Store: s, answer: func(n int) error {
		if n == 1 {
			done = uptime()
		}
		return atFirst(2, errNoRoute)(n)
	}}
	if err := l.Renew(context.Background()); err != nil {
		t.Fatal(err)
	}
	if l.since > done {
		t.Errorf("others have seen it for %s more", l.since-done)
	}
}

// A machine that slept for longer than the term has lost the lease, and Keep says
// so soon, not when its timer ends.
func TestLeaseLostToSleep(t *testing.T) {
	looks := 0
	uptime = func() time.Duration {
		if looks++; looks > 2 { // one to take it, one before it waits
			return wait.Uptime() + time.Hour
		}
		return wait.Uptime()
	}
	defer func() { uptime = wait.Uptime }()
	l, err := Take(context.Background(), place(t), "backup", "sleeper", time.Minute, 0)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := l.Keep(context.Background()); !errors.Is(err, ErrLost) {
		t.Errorf("error %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("only after %s", took)
	}
}

// Who may put and list but not remove can hold a lease all the same, and does not
// try for every number again and again.
func TestLeaseWithoutRemoving(t *testing.T) {
	ctx := context.Background()
	s := &faulty{Store: place(t), remove: errors.New("access denied")}
	for range 3 {
		l := mustTake(t, s, "holder")
		if err := errors.Join(l.Renew(ctx), l.Renew(ctx), l.Held(ctx), l.Release(ctx)); err != nil {
			t.Error(err)
		}
	}
	if s.rms > s.puts {
		t.Errorf("%d attempts to remove something in %d steps", s.rms, s.puts)
	}
}

// A number that was taken, and swept before it could be looked at, is another's.
func TestLeaseSweptMeanwhile(t *testing.T) {
	s := place(t)
	l, err := take(&faulty{Store: s, put: atFirst(1, fmt.Errorf("lease/backup/0000000001: %w", store.ErrVanished))}, "second", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	l.store = &faulty{Store: s, put: atFirst(1, store.ErrVanished)}
	if err := l.Renew(context.Background()); !errors.Is(err, ErrLost) {
		t.Errorf("renewed, although a later one was there: %v", err)
	}
}

// Numbers grow longer, and are compared as such.
func TestLeaseNumbers(t *testing.T) {
	ctx, s := context.Background(), place(t)
	put := func(number, text string) {
		t.Helper()
		if _, err := s.Put(ctx, "lease/backup/"+number, func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	put("9999999999", leaseNote{}.text())
	put("12345678901234567890123", "no number of a lease")
	put("00000000088888888888", "nor this")
	l := mustTake(t, s, "first")
	if _, err := take(s, "second", 0); !errors.Is(err, ErrBusy) {
		t.Errorf("busy: %v", err)
	}
	if err := errors.Join(l.Renew(ctx), l.Held(ctx), l.Release(ctx)); err != nil {
		t.Error(err)
	}
	if err := mustTake(t, s, "second").Release(ctx); err != nil {
		t.Error(err)
	}
	put("18446744073709551615", leaseNote{}.text())
	if _, err := take(s, "third", 0); err == nil || errors.Is(err, ErrBusy) {
		t.Errorf("after the last number: %v", err)
	}
}

// What was renewed, and nobody heard of it, can be given up.
func TestLeaseReleasedAfterUnheardRenewal(t *testing.T) {
	ctx, s := context.Background(), place(t)
	l := mustTake(t, s, "holder")
	l.store = &faulty{Store: s, answer: atFirst(1, errNoRoute)}
	if err := l.renew(ctx); !errors.Is(err, errNoRoute) {
		t.Fatalf("heard of: %v", err)
	}
	if err := l.Release(ctx); err != nil {
		t.Error(err)
	}
	mustTake(t, s, "next")
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

func TestLeaseAdopt(t *testing.T) {
	ctx, s := context.Background(), place(t)
	l := mustTake(t, s, "a: b\tc")
	other, err := Adopt(s, "backup", l.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(other.Renew(ctx), l.Held(ctx), other.Release(ctx)); err != nil {
		t.Error(err)
	}
	for _, text := range []string{"", "1:2", "1:t:1s:h", "x:t:1s:1s:h", "1:t:x:1s:h", "1:t:1s:x:h"} {
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

// Of every lease only the last object counts, and numbers are compared, not names.
func TestOutdatedLeases(t *testing.T) {
	s := place(t)
	for _, key := range []string{
		leaseKey("backup", 7), leaseKey("backup", 9), leaseKey("backup", 12345678901), leaseKey("backup", 12345678902),
		leaseKey("expire", 3), "lease/other/x", "lease/backup/008",
	} {
		_, err := s.Put(t.Context(), key, func(w io.Writer) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	keys, err := Outdated(t.Context(), s)
	slices.Sort(keys)
	if want := []string{leaseKey("backup", 7), leaseKey("backup", 9), leaseKey("backup", 12345678901)}; err != nil || !slices.Equal(keys, want) {
		t.Errorf("%q, %v; want %q", keys, err, want)
	}
}

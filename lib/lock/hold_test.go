package lock

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgpipes/lib/store"
)

// fileless is a store that knows leases alone.
type fileless struct{ store.Store }

// Whatever kind of lock a store has: one does its work at a time, the other is
// told who, or waits.
func TestHold(t *testing.T) {
	for kind, s := range map[string]store.Store{"file": place(t), "lease": fileless{place(t)}} {
		t.Run(kind, func(t *testing.T) {
			hold := func(who string, patience time.Duration, work func(context.Context) error) error {
				return Hold(t.Context(), s, "expire", who, patience, work)
			}
			entered, leave, left := make(chan bool), make(chan bool), make(chan error)
			go func() {
				left <- hold("first", 0, func(context.Context) error {
					entered <- true
					<-leave
					return errors.ErrUnsupported
				})
			}()
			<-entered
			err := hold("second", 0, func(context.Context) error { t.Error("two at once"); return nil })
			if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "lock expire: busy: held by pid ") || !strings.HasSuffix(err.Error(), ": first") {
				t.Errorf("busy: %v", err)
			}
			go func() { leave <- true }()
			if err := hold("third", time.Minute, func(ctx context.Context) error { return ctx.Err() }); err != nil {
				t.Error(err)
			}
			if err := <-left; !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("the error of the work: %v", err)
			}
		})
	}
}

// A directory is a store of files to one host and none to another.
func TestHoldOfBothKinds(t *testing.T) {
	files := place(t)
	leases := fileless{files}
	must := func(s store.Store, work func(context.Context) error) {
		t.Helper()
		if err := Hold(t.Context(), s, "expire", "first", 0, work); err != nil {
			t.Error(err)
		}
	}
	busy := func(s store.Store) func(context.Context) error {
		return func(context.Context) error {
			if err := Hold(t.Context(), s, "expire", "second", 0, func(context.Context) error { return nil }); !errors.Is(err, ErrBusy) {
				t.Errorf("%T while it is held: %v", s, err)
			}
			return nil
		}
	}
	must(files, func(context.Context) error {
		if leased, err := Leased(t.Context(), files, "expire"); err != nil || leased {
			t.Errorf("leased: %v, %v", leased, err)
		}
		return nil
	})
	must(leases, busy(files))
	must(files, busy(leases))
	must(leases, busy(leases))
	must(files, busy(files))
}

// A lease is renewed as long as the work takes, and given up at its end, also when
// the work was broken off.
func TestHoldKeepsItsLease(t *testing.T) {
	s := fileless{place(t)}
	ctx, cancel := context.WithCancel(t.Context())
	err := holdLease(ctx, s, "backup", "holder", term, 0, func(working context.Context) error {
		time.Sleep(2 * term)
		if _, err := take(s, "other", term); !errors.Is(err, ErrBusy) {
			t.Errorf("taken from who works: %v", err)
		}
		cancel()
		<-working.Done()
		return working.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	began := time.Now()
	mustTake(t, s, "other")
	if took := time.Since(began); took > term/2 {
		t.Errorf("free after %s", took)
	}
}

// Work whose lease is lost ends, and is no success.
func TestHoldIsLost(t *testing.T) {
	var down atomic.Bool
	broken := &faulty{Store: place(t), put: func(int) error {
		if down.Load() {
			return errNoRoute
		}
		return nil
	}}
	err := holdLease(t.Context(), broken, "backup", "holder", term, 0, func(working context.Context) error {
		down.Store(true)
		<-working.Done()
		if err := context.Cause(working); !errors.Is(err, ErrLost) {
			t.Errorf("cause %v", err)
		}
		return nil
	})
	if !errors.Is(err, ErrLost) {
		t.Errorf("error %v", err)
	}
}

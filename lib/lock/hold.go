package lock

import (
	"context"
	"fmt"
	"time"

	"pgpipes/lib/store"
	"pgpipes/lib/wait"
)

// Files are what a store has whose locks are those of files. Others have leases.
type Files interface {
	LockFile(name string) (path string, err error)
}

// AcquireIn acquires the lock of that name in a store of files.
func AcquireIn(ctx context.Context, s Files, name, command string, patience time.Duration) (*Lock, error) {
	done := wait.For(ctx, "looking for lock "+name)
	path, err := s.LockFile(name)
	done()
	if err != nil {
		return nil, err
	}
	return Acquire(ctx, path, command, patience)
}

// Leased reports whether a lock in a store of files is taken as a lease, too: hosts
// that reach the repository in another way have had it. They know nothing of files,
// and so whoever has locked the file takes the lease as they do.
func Leased(ctx context.Context, s store.Store, name string) (bool, error) {
	for _, err := range s.List(ctx, leasePrefix(name), "") {
		return err == nil, forAll(name, err)
	}
	return false, nil
}

// Hold does work while this process holds the lock of that name, of whatever kind
// the store has, and both where both are used. It waits for a busy one as long as
// patience says; then the error wraps ErrBusy and names the holder. When a lease is
// lost the context of the work ends, and the error wraps ErrLost.
func Hold(ctx context.Context, s store.Store, name, command string, patience time.Duration, work func(context.Context) error) error {
	files, able := s.(Files)
	if !able {
		return holdLease(ctx, s, name, command, DefaultTerm, patience, work)
	}
	begun := time.Now()
	l, err := AcquireIn(ctx, files, name, command, patience)
	if err != nil {
		return fmt.Errorf("lock %s: %w", name, err)
	}
	defer l.Release()
	if leased, err := Leased(ctx, s, name); err != nil {
		return fmt.Errorf("lock %s: %w", name, err)
	} else if leased {
		return holdLease(ctx, s, name, command, DefaultTerm, patience-time.Since(begun), work)
	}
	return work(ctx)
}

// releasePatience is how long giving up a lease may take.
const releasePatience = 10 * time.Second

func holdLease(ctx context.Context, s store.Store, name, command string, term, patience time.Duration, work func(context.Context) error) error {
	l, err := Take(ctx, s, name, command, term, patience)
	if err != nil {
		return fmt.Errorf("lock %s: %w", name, err)
	}
	keeping, stop := context.WithCancel(ctx)
	defer stop()
	working, end := context.WithCancelCause(ctx)
	defer end(nil)
	kept := make(chan error, 1)
	go func() {
		err := l.Keep(keeping)
		end(err)
		kept <- err
	}()
	err = work(working)
	stop()
	if lost := <-kept; lost != nil {
		return fmt.Errorf("lock %s: %w", name, lost)
	}
	ending, done := context.WithTimeout(context.WithoutCancel(ctx), releasePatience)
	defer done()
	_ = l.Release(ending) // what could not be given up expires
	return err
}

package transfer

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"pgpipes/lib/store"
)

// A carrier copies one object. It calls turn when all but the name is there.
type carrier func(ctx context.Context, o store.Info, turn func() error) error

// errBefore ends what must not become visible before something that failed.
var errBefore = errors.New("one before it was not copied")

// A place in a queue is done when its object is visible, or will not be.
type place struct {
	done   chan struct{}
	failed bool // known when it is done
}

func (p *place) leave(err error) {
	p.failed = err != nil
	close(p.done)
}

func (p *place) await(ctx context.Context) error {
	select {
	case <-p.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if p.failed {
		return errBefore
	}
	return nil
}

// each copies the objects with a prefix that are wanted and not there, several
// at once. They become visible in their order; after one that fails none does, unless
// it is lost.
func (t Transfer) each(ctx context.Context, prefix string, wanted func(store.Info) bool, carry carrier) error {
	var group errgroup.Group
	group.SetLimit(max(1, t.Jobs))
	before := &place{done: make(chan struct{})}
	before.leave(nil)
	var broken atomic.Bool
	var mu sync.Mutex
	var failed []error
	for o, err := range t.missing(ctx, prefix) {
		if err != nil {
			group.Go(func() error { return err })
		}
		if err != nil || broken.Load() {
			break
		}
		if !wanted(o) {
			continue
		}
		last, own := before, &place{done: make(chan struct{})}
		before = own
		group.Go(func() error {
			err := carry(ctx, o, func() error { return last.await(ctx) })
			if errors.As(err, new(lost)) {
				own.leave(last.await(ctx))
			} else {
				own.leave(err)
				broken.CompareAndSwap(false, err != nil)
			}
			if err != nil && !errors.Is(err, errBefore) { // which tells of itself
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, err)
			}
			return nil
		})
	}
	return errors.Join(group.Wait(), errors.Join(failed...))
}

// missing lists what is in the one repository and not in the other, by walking
// both lists side by side. An object of the same name and another size is
// missing, too: it will be found to differ.
func (t Transfer) missing(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		there, stop := iter.Pull2(t.To.List(ctx, prefix, ""))
		defer stop()
		have, err, more := there()
		for o, ferr := range t.From.List(ctx, prefix, "") {
			for err == nil && ferr == nil && more && have.Key < o.Key {
				have, err, more = there()
			}
			if err = cmp.Or(ferr, err); err != nil {
				yield(store.Info{}, err)
				return
			}
			if more && have.Key == o.Key && have.Size == o.Size && !t.Compare {
				continue
			}
			if !yield(o, nil) {
				return
			}
		}
	}
}

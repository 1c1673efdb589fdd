package prefetch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pgpipes/lib/archive"
	"pgpipes/lib/codec"
	"pgpipes/lib/durable"
	"pgpipes/lib/layout"
	"pgpipes/lib/store"
	"pgpipes/lib/wait"
	"pgpipes/lib/wal"
)

// glance is how often one that lingers looks whether something was taken.
const glance = 10 * time.Millisecond

// A filling fetches from one repository.
type filling struct {
	repo    *archive.Repo
	shelf   shelf
	shelves []shelf // of the repositories before, and its own
	window  window

	mu      sync.Mutex
	changed *sync.Cond
	next    uint64 // all before it are dealt with, or busy
	busy    map[uint64]bool
	absent  []uint64
	suffix  string    // of the codec that was found last
	moved   time.Time // when there was something to fetch
	fetched int
}

func newFilling(r *archive.Repo, shelves []shelf, w window, next uint64) *filling {
	f := &filling{repo: r, shelf: shelves[len(shelves)-1], shelves: shelves, window: w, next: next}
	f.changed = sync.NewCond(&f.mu)
	f.busy = map[uint64]bool{}
	f.moved = time.Now()
	f.suffix = codec.Formats()[0].Suffix
	return f
}

func (f *filling) run(ctx context.Context, supply Supply) error {
	l, err := f.shelf.lock(ctx, lockPatience)
	if err != nil {
		return err
	}
	defer l.Release()
	f.shelf.prune(f.window)
	if err := f.shelf.room(f.window); err != nil {
		return err
	}
	here := f.shelf.within(f.window)
	g, working := errgroup.WithContext(ctx)
	for range supply.Jobs {
		g.Go(func() error {
			for {
				number, ok := f.turn(working, here, supply)
				if !ok {
					return ctx.Err()
				}
				err := f.fetch(working, number)
				f.release(number)
				if err != nil {
					return err
				}
			}
		})
	}
	err = g.Wait()
	if len(f.absent) > 0 {
		f.next = slices.Min(f.absent)
	}
	return err
}

// turn returns the next segment to be fetched, if there is one within the time
// to linger.
func (f *filling) turn(ctx context.Context, here map[uint64]bool, supply Supply) (number uint64, ok bool) {
	for {
		number, ok, last := f.claim(here, supply.Jobs)
		if ok {
			return number, true
		}
		if last || f.idleFor() >= supply.Linger || !wait.Sleep(ctx, glance) {
			return 0, false
		}
	}
}

func (f *filling) idleFor() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Since(f.moved)
}

// claim returns the next segment to be fetched, if there is one now, and whether
// there cannot be another. It waits while the one that is fetched for longest is
// so far behind that, were it absent, too many beyond it would have been asked
// for.
func (f *filling) claim(here map[uint64]bool, jobs int) (number uint64, ok, last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.absent) == 0 && f.next-lowest(f.next, f.busy) >= uint64(jobs) {
		f.changed.Wait()
	}
	for here[f.next] {
		f.next++
	}
	if len(f.absent) > 0 || f.next >= f.end() {
		return 0, false, len(f.absent) > 0
	}
	number = f.next
	f.busy[number] = true
	f.next++
	f.moved = time.Now()
	return number, true, false
}

func (f *filling) release(number uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.busy, number)
	f.changed.Broadcast()
}

// end is the end of the window, which begins where Deliver has got to.
func (f *filling) end() uint64 {
	first := lowest(f.next, f.busy)
	known := window{f.window.size, f.window.timeline, f.window.first, f.next}
	for _, s := range f.shelves {
		first = min(first, lowest(f.next, s.within(known)))
	}
	return first + (f.window.end - f.window.first)
}

// lowest is the smallest of numbers, or next.
func lowest(next uint64, numbers map[uint64]bool) uint64 {
	for n := range numbers {
		next = min(next, n)
	}
	return next
}

// fetch puts a segment on the shelf. A damaged one is left for whoever asks for
// it, to look for another copy and to be warned.
func (f *filling) fetch(ctx context.Context, number uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n, err := wal.ParseName(f.window.size.Name(f.window.timeline, number))
	if err != nil {
		return err
	}
	path := filepath.Join(f.shelf.dir, n.String())
	file, err := f.decoded(ctx, n, path)
	if errors.Is(err, store.ErrNotExist) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.absent = append(f.absent, number)
		return nil
	}
	if errors.Is(err, archive.ErrDamaged) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	sum, err := checksum(archive.Content{ReaderAt: file, Size: file.Size()})
	if err != nil {
		return err
	}
	if err := file.ReplaceUnsynced(); err != nil {
		return err
	}
	f.mu.Lock()
	f.fetched++
	f.mu.Unlock()
	return os.Rename(path, filepath.Join(f.shelf.dir, cached{n, sum}.String()))
}

// decoded fetches a segment. The codec is most likely that of the one before,
// and asking for the object at once saves the list of what there is.
func (f *filling) decoded(ctx context.Context, n wal.Name, path string) (*durable.File, error) {
	f.mu.Lock()
	likely := layout.WALKey(n) + f.suffix
	f.mu.Unlock()
	file, err := f.repo.Fetch(ctx, likely, n, path)
	if err == nil || errors.Is(err, archive.ErrDamaged) {
		return file, err
	}
	there, err := f.repo.Forms(ctx, n)
	if err == nil && len(there) == 0 {
		err = fmt.Errorf("%s: %w", n, store.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	key := slices.MinFunc(there, archive.CompareForms).Key
	_, format := codec.SplitName(key)
	f.mu.Lock()
	f.suffix = format.Suffix
	f.mu.Unlock()
	return f.repo.Fetch(ctx, key, n, path)
}

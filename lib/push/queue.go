package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"pgpipes/lib/archive"
	"pgpipes/lib/state"
	"pgpipes/lib/store"
	"pgpipes/lib/wait"
	"pgpipes/lib/wal"
)

// ErrUnrecorded says that WAL was not dropped because no record of it could be
// kept.
var ErrUnrecorded = errors.New("it is not dropped, as no record of that can be kept")

// A Guard saves a server whose WAL cannot be stored from filling its disk, which
// would stop it: what does not fit in the queue is dropped, and point-in-time
// recovery with it. It acts only after a push has failed.
//
// # Guarantees
//
// Before a file counts as dropped there is a record of it on stable storage, in
// the state directory, and that goes only after the repository has got it as a
// Gap.
type Guard struct {
	Max   int64      // bytes of WAL that may wait; 0: nothing is ever dropped
	State *state.Dir // nil: nothing can be dropped
	// Locations are those of all repositories of the call: what was dropped for
	// one of them is not told another one, which may be a copy with the same id.
	Locations []string
	Warn      func(error)
}

// Reached is called with every repository that could be opened, before anything
// is stored in it. It tells the repository what was dropped while it could not
// be reached. When it cannot, the records stay for the next time.
func (g Guard) Reached(ctx context.Context, r *archive.Repo) {
	if g.State == nil {
		return
	}
	defer wait.For(ctx, "reading what was dropped, in the state directory")()
	d, err := dropsOf(g.State, r.SystemID)
	if err == nil {
		err = d.settle(ctx, r, g.Locations)
	}
	if err != nil {
		g.Warn(fmt.Errorf("%s: what was dropped is not recorded there yet: %w", r.Location, err))
		return
	}
	if g.Max > 0 {
		d.remember(r)
	}
}

// After is called with what became of a WAL file, which lies in pg_wal of
// cluster c. It returns the error of the push, or nil if that is nil or the
// file was dropped for every repository that has not got it: then each is warned
// of. It is dropped only if more than Max waits to be archived and all that was
// wrong is that repositories were unable to take it. The error wraps
// ErrUnrecorded if the file would have been dropped had there been a record.
//
// An error of ctx counts as its cause does.
func (g Guard) After(ctx context.Context, file string, n wal.Name, c *archive.Cluster, outcomes Outcomes) error {
	defer wait.For(ctx, "counting what waits, and recording what is dropped")()
	failed := outcomes.Err()
	if failed == nil || g.Max <= 0 || c == nil || !archive.IsSegment(n) || !allUnable(ctx, outcomes, file) {
		return failed
	}
	count, err := waiting(file, n)
	if err != nil {
		return errors.Join(failed, err)
	}
	if count <= g.Max/int64(c.SegmentSize) {
		return failed
	}
	queue := fmt.Sprintf("%d segments wait, %d bytes, more than the %d allowed", count, count*int64(c.SegmentSize), g.Max)
	if err := g.drop(n, c, outcomes); err != nil {
		return errors.Join(failed, fmt.Errorf("%s, but %w: %w", queue, ErrUnrecorded, err))
	}
	for _, o := range outcomes {
		if o.Err != nil {
			g.Warn(fmt.Errorf("%s: DROPPED, not stored in %s: %s: %s (%v)", n, o.Location, queue, consequence(n), o.Err))
		}
	}
	return nil
}

func consequence(n wal.Name) string {
	if n.Kind == wal.Partial {
		return "recovery never asks for it"
	}
	return "point-in-time recovery across it is impossible; make a new base backup as soon as the repository is back"
}

// drop records a file as dropped for all repositories that have not got it, or
// for none.
func (g Guard) drop(n wal.Name, c *archive.Cluster, outcomes Outcomes) error {
	d, err := dropsOf(g.State, c.SystemID)
	if err != nil {
		return err
	}
	var added []drop
	for _, o := range outcomes {
		if o.Err == nil {
			continue
		}
		record := newDrop(o, n, c.SegmentSize)
		if err := d.add(record); err != nil {
			for _, before := range added {
				d.takeBack(before)
			}
			return err
		}
		added = append(added, record)
	}
	return nil
}

// allUnable reports whether nothing but the inability of repositories kept a
// file from being stored. Any other reason is for somebody to look at, and no
// WAL is dropped before.
func allUnable(ctx context.Context, outcomes Outcomes, file string) bool {
	return !slices.ContainsFunc(outcomes, func(o Outcome) bool { return o.Err != nil && !unable(ctx, o.Err, file) })
}

// unable reports whether an error is that of a repository that cannot be
// reached or cannot take more: of the system, and not about the file itself.
func unable(ctx context.Context, err error, file string) bool {
	if errors.Is(err, context.Canceled) {
		err = context.Cause(ctx)
	}
	for _, other := range []error{
		store.ErrDiffers, store.ErrKey, store.ErrLocation, archive.ErrOccupied, archive.ErrForeign, archive.ErrFormat, archive.ErrDamaged, archive.ErrHole, wal.ErrName, context.Canceled,
		unix.EMFILE, unix.ENFILE, unix.ENOMEM, // lacking here, not there
	} {
		if errors.Is(err, other) {
			return false
		}
	}
	var at *fs.PathError
	if errors.As(err, &at) && at.Path == file {
		return false
	}
	var system unix.Errno
	var late interface{ Timeout() bool }
	return errors.Is(err, archive.ErrNoRepository) || errors.As(err, &system) || errors.As(err, &late) && late.Timeout()
}

const readyName = ".ready"

// statusDir is where a server says what it wants archived of the files beside one.
func statusDir(file string) string { return filepath.Join(filepath.Dir(file), "archive_status") }

// waiting counts the segments that wait for archiving beside a WAL file. It is 0
// if the file itself is not one of them: then no server waits for the answer.
func waiting(file string, n wal.Name) (int64, error) {
	status := statusDir(file)
	if _, err := os.Stat(filepath.Join(status, n.String()+readyName)); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	dir, err := os.Open(status)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	var count int64
	for {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			plain, ready := strings.CutSuffix(name, readyName)
			if waits, err := wal.ParseName(plain); ready && err == nil && archive.IsSegment(waits) {
				count++
			}
		}
		if err == io.EOF {
			return count, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

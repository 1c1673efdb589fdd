package prefetch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"pgpipes/lib/archive"
	"pgpipes/lib/lock"
	"pgpipes/lib/wait"
	"pgpipes/lib/wal"
)

const (
	// lockPatience is for somebody who only looks whether the lock is free.
	lockPatience = 100 * time.Millisecond
	// patience is how long a repository may take to be opened while there are others.
	patience = 10 * time.Second
	// roomFactor is how many times as much as would be fetched must be free.
	roomFactor = 2
)

// errNoRoom says that there is too little space for fetching ahead.
var errNoRoom = errors.New("too little space is free")

// A window is a run of segments on one timeline.
type window struct {
	size       wal.SegmentSize
	timeline   wal.Timeline
	first, end uint64
}

// windowAfter holds the n segments that follow one.
func windowAfter(name wal.Name, size wal.SegmentSize, n int) (window, error) {
	number, err := size.Split(name)
	return window{size, name.Timeline, number + 1, number + 1 + uint64(n)}, err
}

// number is the place of a segment in its timeline, and whether that is in the
// window.
func (w window) number(n wal.Name) (uint64, bool) {
	number, err := w.size.Split(n)
	return number, err == nil && n.Kind == wal.Segment && n.Timeline == w.timeline && w.first <= number && number < w.end
}

// bytes is the size of its segments together.
func (w window) bytes() uint64 { return (w.end - w.first) * uint64(w.size) }

// Low is told that a server has got the segment name, and reports whether a Fill
// would be of use: less than half of the n segments that follow are here, there
// is room for them, and nobody is at it. It removes those that the server has
// passed, having got them elsewhere: a Fill takes the first that it sees for
// where the server is.
func (c *Cache) Low(ctx context.Context, locations []string, name wal.Name, n int) bool {
	defer wait.For(ctx, "looking at "+c.dir)()
	if unix.Access(c.dir, unix.W_OK) != nil {
		return false
	}
	here := 0
	for _, location := range locations {
		id, _ := c.remembered(location)
		if id.ID == "" {
			continue
		}
		w, err := windowAfter(name, id.SegmentSize, n)
		s := c.shelf(id, location)
		s.drop(window{w.size, w.timeline, 0, w.first})
		if err != nil || s.room(w) != nil || !s.idle(ctx) {
			return false
		}
		here += len(s.within(w))
	}
	return 2*here < n
}

// idle reports whether the lock of a shelf can be had.
func (s shelf) idle(ctx context.Context) bool {
	l, err := s.lock(ctx, 0)
	if err != nil {
		return false
	}
	return l.Release() == nil
}

func (s shelf) lock(ctx context.Context, patience time.Duration) (*lock.Lock, error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	return lock.Acquire(ctx, filepath.Join(s.dir, lockFile), "fetching segments ahead", patience)
}

// within returns the numbers of the segments here that lie in a window.
func (s shelf) within(w window) map[uint64]bool {
	here := map[uint64]bool{}
	for _, c := range s.all() {
		if number, inside := w.number(c.Name); inside {
			here[number] = true
		}
	}
	return here
}

// drop removes the segments of a window.
func (s shelf) drop(w window) {
	for _, c := range s.all() {
		if _, inside := w.number(c.Name); inside {
			_ = os.Remove(filepath.Join(s.dir, c.String()))
		}
	}
}

// prune removes what is not in the window: other segments, and what a process
// that was killed has left. One that is just being handed over by a wal-get is
// open there, and arrives all the same.
func (s shelf) prune(w window) {
	entries, _ := os.ReadDir(s.dir)
	for _, e := range entries {
		c, ok := parseCached(e.Name())
		if _, inside := w.number(c.Name); !(ok && inside) && e.Name() != lockFile {
			_ = os.Remove(filepath.Join(s.dir, e.Name()))
		}
	}
}

// room is an error if the file system has too little space for a window.
func (s shelf) room(w window) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(s.dir), &fs); err != nil {
		return &os.PathError{Op: "statfs", Path: s.dir, Err: err}
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < roomFactor*w.bytes() {
		return fmt.Errorf("%s: %w: %d bytes, %d are wanted", s.dir, errNoRoom, free, roomFactor*w.bytes())
	}
	return nil
}

// A Supply says how much is fetched ahead.
type Supply struct {
	Segments int           // to have here
	Jobs     int           // how many are fetched at once
	Linger   time.Duration // how long to wait with all of them here until one is taken
}

// openSoon opens the repository at a location. Where there are others it must not
// keep them waiting.
func (c *Cache) openSoon(ctx context.Context, location string, others bool) (*archive.Repo, error) {
	if !others {
		return c.open(ctx, location)
	}
	var r *archive.Repo
	var err error
	if !wait.Within(patience, func() { r, err = c.open(wait.WithWatch(ctx, nil), location) }) {
		return nil, fmt.Errorf("%s: no answer within %s", location, patience)
	}
	return r, err
}

// Fill fetches the segments that follow name on its timeline, and returns how
// many. It goes on as long as Deliver takes some away, and ends when all are
// here, at the first that is absent, or when something fails; from there it goes
// on in the next repository. Beyond the first that is absent it asks for no more
// than it has jobs. What does not belong to the supply is removed before. The
// error wraps lock.ErrBusy if somebody else is at it.
//
// Killed at any instant it leaves at most files that are no segments for
// Deliver, which the next Fill removes.
func (c *Cache) Fill(ctx context.Context, locations []string, name wal.Name, supply Supply) (fetched int, err error) {
	var failed []error
	var shelves []shelf
	done := 0
	for _, location := range locations {
		r, err := c.openSoon(ctx, location, len(locations) > 1)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		w, err := windowAfter(name, r.SegmentSize, supply.Segments)
		if err != nil {
			return fetched, err
		}
		shelves = append(shelves, c.shelf(r.Identity, location))
		f := newFilling(r, shelves, w, w.first+uint64(done))
		err = f.run(ctx, supply)
		fetched += f.fetched
		if errors.Is(err, lock.ErrBusy) || errors.Is(err, errNoRoom) {
			return fetched, err
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", location, err))
		}
		if done = int(f.next - w.first); done >= supply.Segments {
			break
		}
	}
	return fetched, errors.Join(failed...)
}

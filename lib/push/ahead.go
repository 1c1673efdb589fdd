package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/codec"
	"pgpipes/lib/store"
	"pgpipes/lib/wait"
	"pgpipes/lib/wal"
)

const (
	// setOut is how long after its own segment is stored a call begins with
	// further ones.
	setOut = 5 * time.Second
	// patience is how long a call waits for them: one that hangs must not hold
	// up the server.
	patience = 10 * time.Second
	// goOnFor is how long a call goes on that has nothing else to do: longer, and
	// nobody would learn from the server that something is wrong.
	goOnFor = 30 * time.Second
	// mostWorkers bounds the memory, which an encoder of each takes.
	mostWorkers = 4
	// spare is how many segments more than cores are worked on: some wait for
	// a disk or a network.
	spare = 1
)

// A convoy stores a segment and those that follow it, several at a time, and
// has them become visible in their order: a reader that finds a later one but
// not an earlier one has to take that for a hole.
type convoy struct {
	repo    *archive.Repo
	cluster *archive.Cluster
	codec   codec.Options
	notes   notes
	dir     string    // where the files are, pg_wal
	members []*member // the first is what was asked for
}

// A member is one file of a convoy.
type member struct {
	name   wal.Name
	path   string
	source *archive.Source // nil before it is opened
	id     string          // the identity of the source
	object store.Info
	err    error
	done   chan struct{} // closed when it is stored, or will not be
}

// convoy is one of a single file, which was asked for. Nothing can follow what is
// no segment, or not in a file.
func (p *Pusher) convoy(r *archive.Repo, cluster *archive.Cluster, n wal.Name, s *archive.Source) *convoy {
	c := &convoy{repo: r, cluster: cluster, codec: p.Codec, notes: notesOf(p.State, r)}
	c.add(n, "", s)
	c.members[0].id = identity(s)
	if file, isFile := s.Closer.(*os.File); isFile && n.Kind == wal.Segment && c.notes.dir != "" {
		c.dir = filepath.Dir(file.Name())
	}
	return c
}

// gather adds the segments that follow and for which there is a name.ready, looked
// for one by one, as there may be very many of them.
func (c *convoy) gather(most int) *convoy {
	for range max(0, most) {
		next, path, ready := c.after(c.members[len(c.members)-1].name)
		if !ready {
			break
		}
		c.add(next, path, nil)
	}
	return c
}

// after is the segment after another one, and whether it is ready.
func (c *convoy) after(n wal.Name) (next wal.Name, path string, ready bool) {
	if c.dir == "" {
		return n, "", false
	}
	number, err := c.repo.SegmentSize.Split(n)
	if err == nil {
		next, err = wal.ParseName(c.repo.SegmentSize.Name(n.Timeline, number+1))
	}
	path = filepath.Join(c.dir, next.String())
	return next, path, err == nil && isReady(path)
}

// goOn stores what follows a file in a repository that has it already, for as long
// as others lack it, which ends ctx, but not much longer than goOnFor: the server
// asks for nothing else meanwhile. It begins behind what earlier calls have stored
// ahead. As in run, several are worked on only where one does not take long.
func (p *Pusher) goOn(ctx context.Context, r *archive.Repo, cluster *archive.Cluster, n wal.Name, s *archive.Source) {
	c := p.convoy(r, cluster, n, s)
	close(c.members[0].done)
	c.skip(ctx)
	for end := time.Now().Add(goOnFor); p.Ahead > 0 && ctx.Err() == nil && time.Now().Before(end); {
		begun := time.Now()
		c.codec = p.Codec
		if len(c.gather(1).members) == 1 {
			return
		}
		c.store(ctx, 1)
		took := time.Since(begun)
		if !c.advance() {
			return
		}
		c.gather(p.Ahead)
		if workers := c.workers(); workers > 0 && time.Duration(workers)*took < patience {
			c.others(ctx, workers)
			if !c.advance() {
				return
			}
		}
	}
}

// advance leaves of the members the last one of those that are stored, and reports
// whether that is another one than before and nobody is at work any more.
func (c *convoy) advance() bool {
	last := 0
	for i, m := range c.members {
		select {
		case <-m.done:
		default:
			return false
		}
		if m.err == nil && last == i-1 {
			last = i
		}
	}
	c.members = c.members[last : last+1]
	return last > 0
}

// skip puts the last of those that notes tell of, truly, in the place of the first
// member.
func (c *convoy) skip(ctx context.Context) {
	noted := c.members[:1:1]
	for {
		next, path, ready := c.after(noted[len(noted)-1].name)
		if !ready || !c.notes.mention(next) {
			break
		}
		noted = append(noted, &member{name: next, path: path, done: c.members[0].done})
	}
	for _, m := range slices.Backward(noted[1:]) {
		s, err := archive.OpenSource(m.path)
		if err != nil {
			continue
		}
		known := c.notes.has(ctx, c.repo, m.name, identity(s))
		s.Close()
		if known {
			c.members[0] = m
			return
		}
	}
}

func (c *convoy) add(n wal.Name, path string, s *archive.Source) {
	c.members = append(c.members, &member{name: n, path: path, source: s, done: make(chan struct{})})
}

// run stores the first member, and only then what follows: what is asked for
// must not have to share the way to the repository with what is not. What
// becomes of the others is not this call's success or failure.
func (c *convoy) run(ctx context.Context) (store.Info, error) {
	first, begun := c.members[0], time.Now()
	turn := func(io.Writer) error { return unchanged(first.source, first.id) }
	first.object, first.err = c.repo.Push(ctx, first.name, first.source.Content, c.codec, turn)
	close(first.done)
	workers := c.workers()
	if slow := time.Duration(workers) * time.Since(begun); first.err == nil && slow < patience {
		c.others(ctx, workers)
	}
	return first.object, first.err
}

// workers is how many members are worked on at once.
func (c *convoy) workers() int {
	jobs := c.codec.Jobs
	if jobs == 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	return min(jobs+spare, mostWorkers, len(c.members)-1)
}

// others stores what follows the first member while that is reasonable. Nobody
// waits for any of it without a bound.
func (c *convoy) others(ctx context.Context, workers int) {
	ctx, cancel := context.WithCancel(wait.WithWatch(ctx, nil))
	defer cancel()
	c.codec.Jobs = 1
	begun := time.Now()
	var next atomic.Int64
	var working sync.WaitGroup
	for range workers {
		working.Go(func() {
			for {
				i := int(next.Add(1))
				if i >= len(c.members) || ctx.Err() != nil || time.Since(begun) > setOut {
					c.giveUp(i)
					return
				}
				c.store(ctx, i)
			}
		})
	}
	c.await(&working)
}

// giveUp lets nobody wait for a member that is not begun with.
func (c *convoy) giveUp(i int) {
	if i < len(c.members) {
		c.members[i].err = errOutOfTurn
		close(c.members[i].done)
	}
}

// await waits for the workers while that is reasonable.
func (c *convoy) await(working *sync.WaitGroup) {
	ended := make(chan struct{})
	go func() {
		working.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		if c.dir != "" {
			c.notes.sweep(c.dir)
		}
	case <-time.After(patience):
	}
}

// store stores one member after the first, and notes that. One that is there
// already, but was not noted, is compared.
func (c *convoy) store(ctx context.Context, i int) {
	m := c.members[i]
	defer close(m.done)
	if m.source, m.err = archive.OpenSource(m.path); m.err != nil {
		return // it was just removed, for example
	}
	defer m.source.Close()
	m.id = identity(m.source)
	if c.notes.has(ctx, c.repo, m.name, m.id) {
		return
	}
	cluster, err := archive.Inspect(m.name, m.source.Content)
	if m.err = err; err == nil && cluster != *c.cluster {
		m.err = fmt.Errorf("%s %w", m.name, archive.ErrForeign)
	}
	if m.err != nil {
		return
	}
	there, err := c.repo.Forms(ctx, m.name)
	if m.err = err; err != nil {
		return
	}
	turn := func(w io.Writer) error { return c.turn(ctx, i, w) }
	if m.object, m.err = c.repo.PushBeside(ctx, there, m.name, m.source.Content, c.codec, turn); m.err == nil {
		m.err = c.notes.add(m.name, m.id, m.object)
	}
}

// errOutOfTurn ends a convoy.
var errOutOfTurn = errors.New("it is not its turn: one before it was not stored")

// turn waits until the member before the i-th is stored. Meanwhile the bytes of
// the i-th go to the disk.
func (c *convoy) turn(ctx context.Context, i int, w io.Writer) error {
	if s, able := w.(interface{ Sync() error }); able {
		if err := s.Sync(); err != nil {
			return err
		}
	}
	before := c.members[i-1]
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-before.done:
	}
	if before.err != nil {
		return errOutOfTurn
	}
	// The server may have had it archived in another way meanwhile, and have
	// used the file for something else.
	if !isReady(c.members[i].path) {
		return errOutOfTurn
	}
	return unchanged(c.members[i].source, c.members[i].id)
}

// isReady reports whether the server wants a segment archived.
func isReady(path string) bool {
	_, err := os.Stat(readyMark(path))
	return err == nil
}

// readyMark is the file by which it says so.
func readyMark(path string) string {
	return filepath.Join(statusDir(path), filepath.Base(path)+readyName)
}

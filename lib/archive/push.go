package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pgpipes/lib/codec"
	"pgpipes/lib/layout"
	"pgpipes/lib/state"
	"pgpipes/lib/store"
	"pgpipes/lib/wait"
	"pgpipes/lib/wal"
)

// copyBuffer is the size of reads and writes in bytes.
const copyBuffer = 256 << 10

// A Pusher stores WAL files as one call of an archive_command does.
type Pusher struct {
	Locations []string
	Codec     codec.Options
	Retry     time.Duration // go on trying for so long
	// Ahead is how many of the segments that follow, and that the server wants
	// archived too, are stored in the same call; State remembers them for the
	// calls that will ask for them. With State nil there are none.
	Ahead int
	State *state.Dir
	// Reached, if not nil, is called with every repository that was opened,
	// before anything is stored in it, from several goroutines.
	Reached func(context.Context, *Repo)
}

// An Outcome is what became of a file in one repository.
type Outcome struct {
	Location string
	Repo     *Repo // nil if it could not be opened
	Err      error
	object   store.Info // what holds the file
	noted    bool       // it was there already, stored ahead
}

// Outcomes are those of all repositories.
type Outcomes []Outcome

// Err is nil if every repository has the file.
func (o Outcomes) Err() error {
	var failed []error
	for _, one := range o {
		failed = append(failed, one.Err)
	}
	return errors.Join(failed...)
}

// Push stores a WAL file, which the caller has inspected, in every repository,
// all at once. One that fails or is slow keeps neither the file from the others
// nor, as far as that may be stored ahead, what follows it.
// Repositories that are not there yet are made for cluster; a nil cluster (a
// timeline history from a pipe) needs one that is there.
//
// The same contents there already, in whatever codec, are success. Other
// contents are store.ErrDiffers. A repository that does not answer is not waited
// for when ctx has ended: its error is the cause of that.
func (p *Pusher) Push(ctx context.Context, cluster *Cluster, n wal.Name, s *Source) Outcomes {
	id := s.identity()
	lacking, haveIt := context.WithCancel(ctx) // ends when all have it
	defer haveIt()
	var have atomic.Int64
	var further sync.WaitGroup
	outcomes := p.pushToAll(ctx, func(location string) Outcome {
		o := p.pushTo(ctx, location, cluster, n, s, id)
		if o.Err == nil && have.Add(1) == int64(len(p.Locations)) {
			haveIt()
		}
		if o.Err == nil && o.noted {
			further.Go(func() {
				if wait.Sleep(lacking, slow) {
					p.goOn(lacking, o.Repo, cluster, n, s)
				}
			})
		}
		return o
	})
	everywhere := outcomes.Err() == nil
	for _, o := range outcomes {
		switch {
		case o.Err == nil && everywhere:
			notesOf(p.State, o.Repo).remove(n)
		case o.Err == nil: // it will be asked for again, for the others
			_ = notesOf(p.State, o.Repo).add(n, id, o.object)
		}
	}
	if ctx.Err() == nil {
		awaitUnless(lacking, &further)
	}
	return outcomes
}

// slow is how long one repository waits for the others before it goes on.
const slow = time.Second

// awaitUnless waits for what is under way. When ctx ends that has a moment to clean
// up after itself.
func awaitUnless(ctx context.Context, working *sync.WaitGroup) {
	ended := make(chan struct{})
	go func() {
		working.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	select {
	case <-ended:
	case <-time.After(slow):
	}
}

// grace is how long a push that was broken off has to say so.
const grace = 100 * time.Millisecond

// pushToAll calls do for all locations at once.
func (p *Pusher) pushToAll(ctx context.Context, do func(location string) Outcome) Outcomes {
	late, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, giveUp) })()
	answers := make([]chan Outcome, len(p.Locations))
	for i, location := range p.Locations {
		answers[i] = make(chan Outcome, 1)
		go func() { answers[i] <- do(location) }()
	}
	outcomes := make(Outcomes, len(p.Locations))
	for i, location := range p.Locations {
		select {
		case outcomes[i] = <-answers[i]:
		case <-late.Done():
			outcomes[i] = Outcome{Location: location, Err: fmt.Errorf("%s: %w", location, context.Cause(ctx))}
		}
	}
	return outcomes
}

func (p *Pusher) pushTo(ctx context.Context, location string, cluster *Cluster, n wal.Name, s *Source, id string) Outcome {
	o := Outcome{Location: location}
	o.Err = wait.Retry(ctx, p.Retry, mayPass, func() (err error) {
		if o.Repo == nil {
			if o.Repo, err = openMaybeFor(ctx, location, cluster); err != nil {
				return err
			}
		}
		if p.Reached != nil {
			p.Reached(ctx, o.Repo)
		}
		if o.noted = p.noted(ctx, o.Repo, n, id); o.noted {
			return nil // it was just seen there
		}
		o.object, err = p.convoy(o.Repo, cluster, n, s).gather(p.Ahead).run(ctx)
		if err == nil { // it is not in something else that is there by now
			err = o.Repo.StillThere(ctx)
		}
		return err
	})
	return o
}

// notePatience is how long the notes may take to answer: they only save time.
const notePatience = 2 * time.Second

// noted reports whether a file is known to be stored.
func (p *Pusher) noted(ctx context.Context, r *Repo, n wal.Name, id string) bool {
	answer := make(chan bool, 1)
	wait.Within(notePatience, func() {
		answer <- notesOf(p.State, r).has(wait.WithWatch(ctx, nil), r, n, id)
	})
	select {
	case yes := <-answer:
		return yes
	default:
		return false
	}
}

// mayPass reports whether a failure to store may pass.
func mayPass(err error) bool {
	for _, final := range []error{store.ErrDiffers, store.ErrLocation, store.ErrOverwrites, ErrForeign, ErrFormat} {
		if errors.Is(err, final) {
			return false
		}
	}
	return true
}

func openMaybeFor(ctx context.Context, location string, cluster *Cluster) (*Repo, error) {
	if cluster == nil {
		return Open(ctx, location)
	}
	return OpenFor(ctx, location, *cluster)
}

// StoreHistories stores the histories of a timeline and its ancestors that are
// not there yet, from pg_wal of a data directory. A cluster that had them before
// it had this repository does not offer them again, and recovery cannot do
// without them.
func (r *Repo) StoreHistories(ctx context.Context, data string, tli wal.Timeline) error {
	for tli > 1 {
		h, err := r.History(ctx, tli)
		if errors.Is(err, store.ErrNotExist) {
			h, err = r.storeHistory(ctx, data, tli)
		}
		if err != nil {
			return fmt.Errorf("%s.history, without which recovery cannot reach timeline %d: %w", tli, uint32(tli), err)
		}
		tli = h[len(h)-1].Parent
	}
	return nil
}

func (r *Repo) storeHistory(ctx context.Context, data string, tli wal.Timeline) (wal.History, error) {
	n := wal.Name{Kind: wal.TimelineHistory, Timeline: tli}
	s, err := OpenSource(filepath.Join(data, "pg_wal", n.String()))
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if _, err := Inspect(n, s.Content); err != nil {
		return nil, err
	}
	if _, err := r.push(ctx, n, s.Content, codec.Options{Format: codec.None}, nil); err != nil {
		return nil, err
	}
	return r.History(ctx, tli)
}

// push stores a file and returns the object that holds it. Before a new object
// becomes visible turn is called, if it is not nil, with the writer of a Put.
func (r *Repo) push(ctx context.Context, n wal.Name, c Content, o codec.Options, turn func(io.Writer) error) (store.Info, error) {
	there, err := r.Forms(ctx, n)
	if err != nil {
		return store.Info{}, fmt.Errorf("%s: %w", r.Location, err)
	}
	return r.pushBeside(ctx, there, n, c, o, turn)
}

// pushBeside is push where the forms of the file that are there are known.
func (r *Repo) pushBeside(ctx context.Context, there []store.Info, n wal.Name, c Content, o codec.Options, turn func(io.Writer) error) (store.Info, error) {
	if n.Kind == wal.TimelineHistory || n.Kind == wal.BackupHistory {
		o = codec.Options{Format: codec.None} // small, and read by people
	}
	own := store.Info{Key: layout.WALKey(n) + o.Format.Suffix}
	var err error
	if len(there) == 0 {
		var receipt store.Receipt
		receipt, err = r.Put(ctx, own.Key, func(w io.Writer) error {
			err := encode(w, c, o)
			if err == nil && turn != nil {
				err = turn(w)
			}
			return err
		})
		own.Size = receipt.Size
		if differs := errors.Is(err, store.ErrDiffers); err == nil || differs {
			// Somebody else may have stored the name meanwhile: in other words,
			// or under another codec's key.
			there, err = r.Forms(ctx, n)
			there = slices.DeleteFunc(there, func(i store.Info) bool { return i.Key == own.Key && !differs })
		}
	}
	if err != nil {
		return store.Info{}, fmt.Errorf("%s: %w", r.Location, err)
	}
	for _, form := range there {
		if err := r.confirm(ctx, form.Key, n, c); err != nil {
			return store.Info{}, fmt.Errorf("%s: %w", r.Location, err)
		}
		own = form
	}
	return own, nil
}

// encode compresses a file as a whole; one that ends early is an error.
func encode(w io.Writer, c Content, o codec.Options) error {
	z, err := codec.NewWriter(w, o)
	if err != nil {
		return err
	}
	n, err := io.CopyBuffer(z, struct{ io.Reader }{c.Reader()}, make([]byte, copyBuffer))
	if err == nil && n != c.Size {
		err = fmt.Errorf("shrank from %d to %d bytes while it was read", c.Size, n)
	}
	if cerr := z.Close(); err == nil {
		err = cerr
	}
	return err
}

// confirm succeeds when a stored object holds these contents and is durable.
func (r *Repo) confirm(ctx context.Context, key string, n wal.Name, c Content) error {
	offered, stored := sha256.New(), sha256.New()
	if _, err := io.Copy(offered, c.Reader()); err != nil {
		return err
	}
	if err := r.decode(ctx, key, stored, int64(wal.MaxSegmentSize)); err != nil {
		return fmt.Errorf("%w (it was to be compared with the same file, offered again)", err)
	}
	if a, b := hex.EncodeToString(stored.Sum(nil)), hex.EncodeToString(offered.Sum(nil)); a != b {
		return fmt.Errorf("%s: %w: stored sha256 %s, offered %s", n, store.ErrDiffers, a, b)
	}
	return r.sync(ctx, key)
}

// sync makes an object that is there already durable, where the store does not
// do so by itself.
func (r *Repo) sync(ctx context.Context, key string) error {
	if s, able := r.Store.(interface {
		Sync(ctx context.Context, key string) error
	}); able {
		return s.Sync(ctx, key)
	}
	return nil
}

// decode writes the contents of an object, uncompressed, to w. What cannot be
// decoded, or is longer than limit bytes, is ErrDamaged.
func (r *Repo) decode(ctx context.Context, key string, w io.Writer, limit int64) error {
	body, err := r.Get(ctx, key, 0, -1)
	if errors.Is(err, store.ErrNotExist) { // it was there a moment ago: no proof of absence
		return fmt.Errorf("%s: vanished while it was read", key)
	}
	if err != nil {
		return err
	}
	defer body.Close()
	_, format := codec.SplitName(key)
	z, err := codec.NewReaderFormat(body, format, 0)
	if err == nil {
		defer z.Close()
		_, err = io.Copy(&bounded{w, limit}, z)
	}
	if errors.Is(err, codec.ErrCorrupt) || errors.Is(err, codec.ErrFormat) || errors.Is(err, errTooLong) {
		return fmt.Errorf("%s: %w: %v", key, ErrDamaged, err)
	}
	return err
}

var errTooLong = errors.New("longer than any such file")

// bounded lets so many bytes through to w.
type bounded struct {
	w    io.Writer
	left int64
}

func (b *bounded) Write(p []byte) (int, error) {
	if int64(len(p)) > b.left {
		return 0, errTooLong
	}
	b.left -= int64(len(p))
	return b.w.Write(p)
}

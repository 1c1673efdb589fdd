package archive

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"pgpipes/lib/durable"
	"pgpipes/lib/manifest"
	"pgpipes/lib/store"
)

// A Transfer copies what is in one repository and not in another of the same
// cluster. It may be broken off and run again at any time: what is there is
// passed over.
//
// Everything is checked on its way: WAL against its name and cluster, and parts
// of backups against their receipts. What is damaged is not copied. WAL becomes
// visible in the order of its names and a backup when all it needs is there, so
// that at any moment the copy is a repository like any other, if an earlier one.
// Backups that are not complete are left out.
type Transfer struct {
	From, To *Repo
	Jobs     int                           // objects at once
	Backup   string                        // not "": only the backup of this label, and what it needs
	Compare  bool                          // also what is there already in the same size
	Copied   func(key string, bytes int64) // called for each, perhaps several at once
}

// Run copies. What cannot be copied does not keep the rest back, as far as that
// makes sense without it; the error names all of it.
func (t Transfer) Run(ctx context.Context) error {
	var failed []error
	segments := t.segments
	if t.Backup != "" {
		segments = t.needed
	}
	for _, step := range []func(context.Context) error{t.notes, t.histories, segments, t.backups} {
		if err := step(ctx); err != nil {
			failed = append(failed, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

// notes copies the records of holes: without them a hole that is known, and
// that the copy will have too, looked like a loss.
func (t Transfer) notes(ctx context.Context) error {
	return errors.Join(
		t.each(ctx, gapPrefix, func(store.Info) bool { return true }, t.plainly),
		t.each(ctx, acceptedPrefix, func(store.Info) bool { return true }, t.plainly))
}

// histories copies them before the WAL of their timelines.
func (t Transfer) histories(ctx context.Context) error {
	return t.each(ctx, historyPrefix, isWAL, t.wal)
}

// segments copies all other WAL files, timeline after timeline.
func (t Transfer) segments(ctx context.Context) error {
	return t.each(ctx, walPrefix, func(o store.Info) bool { return isWAL(o) && !strings.HasPrefix(o.Key, historyPrefix) }, t.wal)
}

// needed copies the segments without which the one backup is none.
func (t Transfer) needed(ctx context.Context) error {
	h, err := t.From.Header(ctx, t.Backup)
	if err != nil {
		return fmt.Errorf("%s: %w", t.Backup, err)
	}
	if h.WAL || h.StopLSN == 0 {
		return nil
	}
	histories, err := t.From.Histories(ctx)
	if err != nil {
		return err
	}
	size := t.From.SegmentSize
	var failed []error
	for _, way := range (Coverage{Size: size, Histories: histories}).needed(h) {
		wanted := map[string]bool{}
		for number := way.First; number <= way.Last; number++ {
			wanted[size.Name(way.Timeline, number)] = true
		}
		for _, directory := range directories(wanted) {
			failed = append(failed, t.each(ctx, directory, func(o store.Info) bool {
				n, _, ok := parseWALKey(o.Key)
				return ok && wanted[n.Base()]
			}, t.wal))
		}
	}
	return errors.Join(failed...)
}

// directories are the beginnings of the keys of segments, in order.
func directories(segments map[string]bool) []string {
	set := map[string]bool{}
	for base := range segments {
		set[walPrefix+base[:16]+"/"] = true
	}
	return slices.Sorted(maps.Keys(set))
}

func isWAL(o store.Info) bool {
	_, _, ok := parseWALKey(o.Key)
	return ok
}

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

// each copies the objects with a prefix that are wanted and not there, several
// at once. They become visible in their order; after one that fails none does.
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
			own.leave(err)
			if err != nil {
				broken.Store(true)
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

// plainly copies an object as it is.
func (t Transfer) plainly(ctx context.Context, o store.Info, turn func() error) error {
	return t.put(ctx, o, func(w io.Writer) error {
		if err := copyObject(ctx, t.From, o.Key, w); err != nil {
			return err
		}
		return turn()
	})
}

func (t Transfer) put(ctx context.Context, o store.Info, write func(io.Writer) error) error {
	if _, err := t.To.Put(ctx, o.Key, write); err != nil {
		return fmt.Errorf("%s: %w", o.Key, err)
	}
	t.Copied(o.Key, o.Size)
	return nil
}

func copyObject(ctx context.Context, from store.Store, key string, to io.Writer) error {
	body, err := from.Get(ctx, key, 0, -1)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{body}, make([]byte, copyBuffer))
	return err
}

// wal copies a WAL file that is what its name says. It is kept in a file without
// a name meanwhile, so that it is fetched once.
func (t Transfer) wal(ctx context.Context, o store.Info, turn func() error) error {
	spool, err := durable.Create(filepath.Join(os.TempDir(), path.Base(o.Key)), 0o600)
	if err != nil {
		return err
	}
	defer spool.Close()
	if err := copyObject(ctx, t.From, o.Key, spool); err != nil {
		return err
	}
	if err := t.From.checkSpooled(ctx, o.Key, spool); err != nil {
		return err
	}
	return t.put(ctx, o, func(w io.Writer) error {
		body := io.NewSectionReader(spool, 0, spool.Size())
		if _, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{body}, make([]byte, copyBuffer)); err != nil {
			return err
		}
		return turn()
	})
}

// checkSpooled finds a WAL file as it is stored that is not what its key says.
func (r *Repo) checkSpooled(ctx context.Context, key string, spool *durable.File) error {
	n, _, _ := parseWALKey(key)
	f, err := (&Repo{fetched{r.Store, key, spool}, r.Location, r.Identity}).fetch(ctx, key, n, filepath.Join(os.TempDir(), n.String()))
	if err != nil {
		return err
	}
	return f.Close()
}

// fetched is a store of which one object is here already.
type fetched struct {
	store.Store
	key  string
	file *durable.File
}

func (s fetched) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if key != s.key {
		return s.Store.Get(ctx, key, offset, length)
	}
	return io.NopCloser(io.NewSectionReader(s.file, offset, s.file.Size()-offset)), nil
}

// backups copies those that are complete, each after those whose parts it uses.
func (t Transfer) backups(ctx context.Context) error {
	here, err := t.From.Backups(ctx)
	if err != nil {
		return err
	}
	there, err := t.To.Backups(ctx)
	if err != nil {
		return err
	}
	done := map[string]error{} // by label
	for _, b := range there {
		if b.Complete {
			done[b.Label] = nil
		}
	}
	var failed []error
	var carry func(b Backup) error
	carry = func(b Backup) error {
		if err, known := done[b.Label]; known {
			return err
		}
		done[b.Label] = fmt.Errorf("%s: it needs itself", b.Label)
		done[b.Label] = t.backup(ctx, b, func(label string) error {
			for _, parent := range here {
				if parent.Label == label && parent.Complete {
					return carry(parent)
				}
			}
			return fmt.Errorf("%s: its parent %s is not there", b.Label, label)
		})
		if err := done[b.Label]; err != nil {
			failed = append(failed, err)
		}
		return done[b.Label]
	}
	for _, b := range here {
		if b.Complete && (t.Backup == "" || t.Backup == b.Label) && ctx.Err() == nil {
			_ = carry(b) // it is among those that failed
		}
	}
	return errors.Join(failed...)
}

// backup copies one: first what protects it from expire, last its manifest.
func (t Transfer) backup(ctx context.Context, b Backup, parent func(label string) error) error {
	if b.Err != nil {
		return b.Err
	}
	for _, label := range b.Needs() {
		if err := parent(label); err != nil {
			return fmt.Errorf("%s: %w", b.Label, err)
		}
	}
	start, last := baseKey(b.Label, startName), baseKey(b.Label, manifestName)
	sums := map[string]manifest.Part{}
	for _, p := range b.Header.Parts {
		sums[p.Key] = p
	}
	none := func() error { return nil }
	own := func(only func(key string) bool, carry carrier) error {
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(max(1, t.Jobs))
		for o, err := range t.missing(ctx, baseKey(b.Label, "")) {
			if err != nil {
				group.Go(func() error { return err })
				break
			}
			if only(o.Key) {
				group.Go(func() error { return carry(ctx, o, none) })
			}
		}
		return group.Wait()
	}
	part := func(ctx context.Context, o store.Info, _ func() error) error { return t.part(ctx, o, sums[o.Key]) }
	for _, step := range []struct {
		only  func(key string) bool
		carry carrier
	}{
		{func(key string) bool { return key == start }, t.plainly},
		{func(key string) bool { return sums[key].Key != "" }, part},
		{func(key string) bool { return key != last && sums[key].Key == "" }, t.plainly},
		{func(key string) bool { return key == last }, t.plainly},
	} {
		if err := own(step.only, step.carry); err != nil {
			return err
		}
	}
	return nil
}

// part copies a part that is what its receipt says.
func (t Transfer) part(ctx context.Context, o store.Info, p manifest.Part) error {
	return t.put(ctx, o, func(w io.Writer) error {
		sum := sha256.New()
		if err := copyObject(ctx, t.From, o.Key, io.MultiWriter(w, sum)); err != nil {
			return err
		}
		if hex.EncodeToString(sum.Sum(nil)) != p.SHA256 {
			return fmt.Errorf("%w: its SHA-256 is not that of its receipt", ErrDamaged)
		}
		return nil
	})
}

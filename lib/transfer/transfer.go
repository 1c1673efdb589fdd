// Package transfer makes a copy of a repository, and keeps it one.
package transfer

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

	"pgpipes/lib/archive"
	"pgpipes/lib/durable"
	"pgpipes/lib/layout"
	"pgpipes/lib/manifest"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

// A Transfer copies what is in one repository and not in another of the same
// cluster. It may be broken off and run again at any time: what is there is
// passed over.
//
// Everything is checked on its way: WAL against its name and cluster, and parts
// of backups against their receipts. What is damaged is not copied, and is a hole in
// the copy. WAL becomes visible in the order of its names and a backup when all it
// needs is there, its WAL, too, so that at any moment the copy is a repository like
// any other, if an earlier one. Backups that were not complete when it began are
// left out.
type Transfer struct {
	From, To *archive.Repo
	Jobs     int                           // objects at once
	Backup   string                        // not "": only the backup of this label, and what it needs
	Compare  bool                          // also what is there already in the same size
	Copied   func(key string, bytes int64) // called for each, perhaps several at once
	damaged  *sync.Map                     // of segments in From
}

// Run copies. What cannot be copied does not keep the rest back, as far as that
// makes sense without it; the error names all of it. See OnlyLost.
func (t Transfer) Run(ctx context.Context) error {
	t.damaged = &sync.Map{}
	// A backup that ends while WAL is copied would come without its last segments.
	c, err := t.choose(ctx)
	failed := []error{err}
	segments := t.segments
	if t.Backup != "" {
		segments = func(ctx context.Context) error { return t.needed(ctx, c) }
	}
	backups := func(ctx context.Context) error { return t.backups(ctx, c) }
	for _, step := range []func(context.Context) error{t.notes, t.histories, segments, backups} {
		if ctx.Err() != nil {
			break
		}
		if err := step(ctx); err != nil {
			failed = append(failed, err)
		}
	}
	return cmp.Or(errors.Join(failed...), ctx.Err())
}

// A cargo is what is to be copied of the backups.
type cargo struct {
	here   map[string]archive.Backup // the complete ones in From, by label
	there  map[string]bool           // those in To
	lost   map[string]bool           // those that are damaged or not whole in From
	labels []string                  // what to copy, each after those whose parts it uses
}

// choose lists the backups that are complete and not there; if only one is
// wanted, that and those whose parts it uses.
func (t Transfer) choose(ctx context.Context) (c cargo, err error) {
	here, err1 := t.From.Backups(ctx)
	there, err2 := t.To.Backups(ctx)
	if err := errors.Join(err1, err2); err != nil {
		return c, err
	}
	c = cargo{here: byLabel(here), there: map[string]bool{}, lost: map[string]bool{}}
	if _, complete := c.here[t.Backup]; t.Backup != "" && !complete {
		return c, fmt.Errorf("%s: %w", t.Backup, archive.ErrNoBackup)
	}
	for label := range byLabel(there) {
		c.there[label] = true
	}
	seen := maps.Clone(c.there)
	var visit func(label string)
	visit = func(label string) {
		b, complete := c.here[label]
		if !complete || seen[label] {
			return
		}
		seen[label] = true
		for _, parent := range b.Needs() {
			visit(parent)
		}
		c.labels = append(c.labels, label)
	}
	for _, b := range here {
		if t.Backup == "" || t.Backup == b.Label {
			visit(b.Label)
		}
	}
	return c, nil
}

// byLabel are those that are complete.
func byLabel(all []archive.Backup) map[string]archive.Backup {
	complete := map[string]archive.Backup{}
	for _, b := range all {
		if b.Complete {
			complete[b.Label] = b
		}
	}
	return complete
}

// notes copies the records of holes: without them a hole that is known, and
// that the copy will have too, looked like a loss.
func (t Transfer) notes(ctx context.Context) error {
	return errors.Join(
		t.each(ctx, layout.Gap, func(store.Info) bool { return true }, t.plainly),
		t.each(ctx, layout.Hole, func(store.Info) bool { return true }, t.plainly))
}

// histories copies them before the WAL of their timelines.
func (t Transfer) histories(ctx context.Context) error {
	return t.each(ctx, layout.History, isWAL, t.wal)
}

// segments copies all other WAL files, timeline after timeline.
func (t Transfer) segments(ctx context.Context) error {
	return t.each(ctx, layout.WAL, func(o store.Info) bool { return isWAL(o) && !strings.HasPrefix(o.Key, layout.History) }, t.wal)
}

// needed copies the segments without which the one backup is none, nor one that
// comes with it.
func (t Transfer) needed(ctx context.Context, c cargo) error {
	histories, err := t.From.Histories(ctx)
	if err != nil {
		return err
	}
	size := t.From.SegmentSize
	wanted := map[string]bool{}
	for _, label := range append(c.labels, t.Backup) {
		h := c.here[label].Header
		if h.WAL || h.StopLSN == 0 {
			continue
		}
		for _, way := range (archive.Coverage{Size: size, Histories: histories}).Needed(h) {
			for number := way.First; number <= way.Last; number++ {
				wanted[size.Name(way.Timeline, number)] = true
			}
		}
	}
	var failed []error
	for _, directory := range directories(wanted) {
		failed = append(failed, t.each(ctx, directory, func(o store.Info) bool {
			n, _, ok := layout.ParseWALKey(o.Key)
			return ok && wanted[n.Base()]
		}, t.wal))
	}
	return errors.Join(failed...)
}

// directories are the beginnings of the keys of segments, in order.
func directories(segments map[string]bool) []string {
	set := map[string]bool{}
	for base := range segments {
		set[layout.WAL+base[:16]+"/"] = true
	}
	return slices.Sorted(maps.Keys(set))
}

func isWAL(o store.Info) bool {
	_, _, ok := layout.ParseWALKey(o.Key)
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

// copiedAtOnce is the size of reads and writes in bytes.
const copiedAtOnce = 256 << 10

func copyObject(ctx context.Context, from store.Store, key string, to io.Writer) error {
	body, err := from.Get(ctx, key, 0, -1)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{body}, make([]byte, copiedAtOnce))
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
	if err := checkSpooled(ctx, t.From, o.Key, spool); err != nil {
		if errors.Is(err, archive.ErrDamaged) {
			n, _, _ := layout.ParseWALKey(o.Key)
			t.damaged.Store(n.String(), true)
			err = lost{err}
		}
		return err
	}
	return t.put(ctx, o, func(w io.Writer) error {
		body := io.NewSectionReader(spool, 0, spool.Size())
		if _, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{body}, make([]byte, copiedAtOnce)); err != nil {
			return err
		}
		return turn()
	})
}

// checkSpooled finds a WAL file as it is stored that is not what its key says.
func checkSpooled(ctx context.Context, r *archive.Repo, key string, spool *durable.File) error {
	n, _, _ := layout.ParseWALKey(key)
	local := &archive.Repo{Store: fetched{r.Store, key, spool}, Location: r.Location, Identity: r.Identity}
	f, err := local.Fetch(ctx, key, n, filepath.Join(os.TempDir(), n.String()))
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

// backups copies those that were chosen, each after those whose parts it uses.
func (t Transfer) backups(ctx context.Context, c cargo) error {
	var failed []error
	for _, label := range c.labels {
		if ctx.Err() != nil {
			break
		}
		err := t.backup(ctx, c, c.here[label])
		c.there[label], c.lost[label] = err == nil, err != nil && OnlyLost(err)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", label, err))
		}
	}
	return errors.Join(failed...)
}

// arrived is an error unless the WAL is there without which a backup is none, as
// far as that is known.
func (t Transfer) arrived(ctx context.Context, h manifest.Header) error {
	if h.WAL || h.StopLSN == 0 || h.StopTimeline == 0 {
		return nil
	}
	c := archive.Coverage{Size: t.To.SegmentSize, Histories: map[wal.Timeline]wal.History{}}
	if tli := h.StopTimeline; tli > 1 {
		history, err := t.To.History(ctx, tli)
		if errors.Is(err, store.ErrNotExist) {
			if _, here := t.From.History(ctx, tli); errors.Is(here, store.ErrNotExist) || errors.Is(here, archive.ErrDamaged) {
				err = lost{err}
			}
		}
		if err != nil {
			return err
		}
		c.Histories[tli] = history
	}
	for _, way := range c.Needed(h) {
		missing, err := t.To.FirstMissing(ctx, way.Timeline, way.First, way.Last)
		if err == nil && missing != "" {
			err = t.withoutWAL(ctx, missing)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// withoutWAL is the error of a backup that needs a segment which is not in To: it
// may come yet, or be lost.
func (t Transfer) withoutWAL(ctx context.Context, segment string) error {
	err := fmt.Errorf("its WAL is not there: %s", segment)
	if _, damaged := t.damaged.Load(segment); damaged {
		return lost{err}
	}
	n, perr := wal.ParseName(segment)
	if perr != nil {
		return perr
	}
	forms, ferr := t.From.Forms(ctx, n)
	if ferr != nil || len(forms) > 0 {
		return errors.Join(err, ferr)
	}
	switch hole := t.From.ProvePast(ctx, n); {
	case errors.Is(hole, archive.ErrHole):
		return lost{fmt.Errorf("its WAL is lost: %w", hole)}
	default:
		return errors.Join(err, hole)
	}
}

// lost is an error about something that is damaged or missing in From.
type lost struct{ error }

func (l lost) Unwrap() error { return l.error }

// OnlyLost reports whether an error of Transfer.Run tells of nothing but what is
// damaged or missing in From and not in To either: all else has been copied, and
// copying again cannot help.
func OnlyLost(err error) bool {
	switch e := err.(type) {
	case lost:
		return true
	case interface{ Unwrap() []error }:
		return !slices.ContainsFunc(e.Unwrap(), func(err error) bool { return !OnlyLost(err) })
	case interface{ Unwrap() error }:
		return OnlyLost(e.Unwrap())
	}
	return false
}

// backup copies one: first its parts, last its manifest. The note of its start goes
// just before that: what has one is taken for the remains of a backup that can be
// gone on with, and parts without one for what somebody is about to use.
func (t Transfer) backup(ctx context.Context, c cargo, b archive.Backup) error {
	switch {
	case errors.Is(b.Err, archive.ErrDamaged):
		return lost{b.Err}
	case b.Err != nil:
		return b.Err
	case b.Lost != nil:
		return lost{b.Lost}
	}
	for _, parent := range b.Needs() {
		_, here := c.here[parent]
		err := fmt.Errorf("its parent %s is not there", parent)
		switch {
		case c.there[parent]:
		case c.lost[parent] || !here: // what was given up does not come back
			return lost{err}
		default:
			return err
		}
	}
	if err := t.arrived(ctx, b.Header); err != nil {
		return err
	}
	start, last := layout.BaseKey(b.Label, layout.Start), layout.BaseKey(b.Label, layout.Manifest)
	sums := map[string]manifest.Part{}
	for _, p := range b.Header.Parts {
		sums[p.Key] = p
	}
	none := func() error { return nil }
	own := func(only func(key string) bool, carry carrier) error {
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(max(1, t.Jobs))
		for o, err := range t.missing(ctx, layout.BaseKey(b.Label, "")) {
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
		{func(key string) bool { return sums[key].Key != "" }, part},
		{func(key string) bool { return key != start && key != last && sums[key].Key == "" }, t.plainly},
		{func(key string) bool { return key == start }, t.plainly},
	} {
		if err := own(step.only, step.carry); err != nil {
			return err
		}
	}
	// Something may have gone meanwhile, and parts of its parents long before.
	if err := errors.Join(t.arrived(ctx, b.Header), t.To.VerifyParts(ctx, b.Header)); err != nil {
		return err
	}
	return own(func(key string) bool { return key == last }, t.plainly)
}

// part copies a part that is what its receipt says.
func (t Transfer) part(ctx context.Context, o store.Info, p manifest.Part) error {
	return t.put(ctx, o, func(w io.Writer) error {
		sum := sha256.New()
		if err := copyObject(ctx, t.From, o.Key, io.MultiWriter(w, sum)); err != nil {
			return err
		}
		if hex.EncodeToString(sum.Sum(nil)) != p.SHA256 {
			return lost{fmt.Errorf("%w: its SHA-256 is not that of its receipt", archive.ErrDamaged)}
		}
		return nil
	})
}

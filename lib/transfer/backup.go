package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"

	"golang.org/x/sync/errgroup"

	"pgpipes/lib/archive"
	"pgpipes/lib/layout"
	"pgpipes/lib/manifest"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

// A cargo is what is to be copied of the backups.
type cargo struct {
	here   map[string]archive.Backup // the complete ones in From, by label
	there  map[string]bool           // those that are whole in To
	lost   map[string]bool           // those that are damaged or not whole in From
	labels []string                  // what to copy, each after those whose parts it uses
}

// choose lists the backups that are complete and not there, or not whole; if only
// one is wanted, that and those whose parts it uses.
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
	for label, b := range byLabel(there) {
		c.there[label] = b.Err == nil && b.Lost == nil
	}
	seen := maps.Clone(c.there)
	for o, err := range t.missing(ctx, layout.Base) {
		if err != nil {
			return c, err
		}
		if label := path.Base(path.Dir(o.Key)); o.Key == layout.BaseKey(label, layout.Manifest) {
			seen[label] = false
		}
	}
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
	sums := map[string]manifest.Part{}
	for _, p := range b.Header.Parts {
		sums[p.Key] = p
	}
	part := func(ctx context.Context, o store.Info, _ func() error) error { return t.part(ctx, o, sums[o.Key]) }
	if err := t.some(ctx, b, func(key string) bool { return sums[key].Key != "" }, part); err != nil {
		return err
	}
	start, last := layout.BaseKey(b.Label, layout.Start), layout.BaseKey(b.Label, layout.Manifest)
	if err := t.some(ctx, b, func(key string) bool { return key != start && key != last && sums[key].Key == "" }, t.plainly); err != nil {
		return err
	}
	// An expire that began before there was a start does not know what that protects.
	return t.To.WithoutExpire(ctx, "repo copy", func(ctx context.Context) error { return t.complete(ctx, b, start, last) })
}

// some copies of one what is wanted and not there, several at once.
func (t Transfer) some(ctx context.Context, b archive.Backup, wanted func(key string) bool, carry carrier) error {
	none := func() error { return nil }
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(1, t.Jobs))
	for o, err := range t.missing(ctx, layout.BaseKey(b.Label, "")) {
		if err != nil {
			group.Go(func() error { return err })
			break
		}
		if wanted(o.Key) {
			group.Go(func() error { return carry(ctx, o, none) })
		}
	}
	return group.Wait()
}

// complete copies the note of the start and the manifest of one, whose keys these are,
// if all that it needs is there between the two.
func (t Transfer) complete(ctx context.Context, b archive.Backup, start, last string) error {
	if err := t.some(ctx, b, func(key string) bool { return key == start }, t.plainly); err != nil {
		return err
	}
	// Something may have gone meanwhile, and parts of its parents long before.
	if err := errors.Join(t.arrived(ctx, b.Header), t.To.VerifyParts(ctx, b.Header)); err != nil {
		return err
	}
	if err := t.some(ctx, b, func(key string) bool { return key == last }, t.plainly); err != nil {
		return err
	}
	if _, err := t.To.Header(ctx, b.Label); err != nil { // of the size that it should have, and damaged
		return fmt.Errorf("%s: %w", t.To.Location, err)
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
			return lost{fmt.Errorf("%w: its SHA-256 is not that of its receipt", archive.ErrDamaged)}
		}
		return nil
	})
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

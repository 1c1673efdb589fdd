// Package transfer makes a copy of a repository, and keeps it one.
package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"pgpipes/lib/archive"
	"pgpipes/lib/layout"
	"pgpipes/lib/store"
)

// A Transfer copies what is in one repository and not in another of the same
// cluster. It may be broken off and run again at any time: what is there is
// passed over, as far as sizes and the headers of manifests tell.
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

// notes copies the records of holes: without them a hole that is known, and
// that the copy will have too, looked like a loss.
func (t Transfer) notes(ctx context.Context) error {
	return errors.Join(
		t.each(ctx, layout.Gap, func(store.Info) bool { return true }, t.plainly),
		t.each(ctx, layout.Hole, func(store.Info) bool { return true }, t.plainly))
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
	_, err := t.To.Put(ctx, o.Key, write)
	if errors.Is(err, store.ErrDiffers) { // which names the key
		return fmt.Errorf("%s: %w", t.To.Location, err)
	}
	if err != nil {
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

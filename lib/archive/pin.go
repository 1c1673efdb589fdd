package archive

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"pgpipes/lib/layout"
	"pgpipes/lib/note"
	"pgpipes/lib/store"
)

// Pin keeps a backup from expire, complete or not, for a reason. The error wraps
// store.ErrDiffers if it is pinned for another one.
func (r *Repo) Pin(ctx context.Context, label, reason string) error {
	complete, err := r.exists(ctx, label)
	if err != nil {
		return err
	}
	key := layout.BaseKey(label, layout.Pin)
	_, err = r.Put(ctx, key, func(w io.Writer) error {
		_, err := io.WriteString(w, note.InLine(reason)+"\n")
		return err
	})
	if errors.Is(err, store.ErrDiffers) {
		text, rerr := r.Text(ctx, key)
		return errors.Join(fmt.Errorf("%s: pinned already, for another reason (%s): %w", label, note.InLine(strings.TrimSpace(string(text))), store.ErrDiffers), rerr)
	}
	if err == nil && complete { // expire may have been faster
		if _, err = r.Stat(ctx, layout.BaseKey(label, layout.Manifest)); err != nil {
			err = errors.Join(err, r.Remove(ctx, key))
		}
	}
	return err
}

// Unpin takes that back. One that is not pinned is store.ErrNotExist.
func (r *Repo) Unpin(ctx context.Context, label string) error {
	if _, err := r.exists(ctx, label); err != nil {
		return err
	}
	err := r.Remove(ctx, layout.BaseKey(label, layout.Pin))
	if errors.Is(err, store.ErrNotExist) {
		return fmt.Errorf("%s: not pinned: %w", label, store.ErrNotExist)
	}
	return err
}

// exists is an error if there is nothing of a backup but perhaps its pin. It
// reports whether the backup has its manifest.
func (r *Repo) exists(ctx context.Context, label string) (complete bool, err error) {
	found := false
	for info, err := range r.List(ctx, layout.BaseKey(label, ""), "") {
		if err != nil {
			return false, err
		}
		found = found || info.Key != layout.BaseKey(label, layout.Pin)
		complete = complete || info.Key == layout.BaseKey(label, layout.Manifest)
	}
	if !found {
		err = fmt.Errorf("backup %s: %w", label, store.ErrNotExist)
	}
	return complete, err
}

// pin is the reason in a pin, "" if that has gone. One that cannot be read is one all
// the same.
func (r *Repo) pin(ctx context.Context, key string) string {
	text, err := r.Text(ctx, key)
	switch {
	case errors.Is(err, store.ErrNotExist):
		return ""
	case err != nil:
		return fmt.Sprintf("its reason cannot be read: %v", err)
	}
	return cmp.Or(string(bytes.TrimSpace(text)), "without a reason")
}

package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"pgpipes/lib/archive"
	"pgpipes/lib/layout"
	"pgpipes/lib/store"
)

// checkNotes reads the notes about gaps, holes, restores and what was done. Theirs
// are the last words on what may be missing, or must not go, so they have to be
// whole.
func (v *verifier) checkNotes(ctx context.Context) error {
	for _, info := range v.stock.notes {
		if !v.all() {
			break
		}
		check, ok := v.NoteCheck(info.Key)
		if !ok {
			v.takeStranger(info.Key)
			continue
		}
		text, err := v.Text(ctx, info.Key)
		if err == nil && int64(len(text)) != info.Size {
			err = fmt.Errorf("%s: %w: %d bytes are too many for it", info.Key, archive.ErrDamaged, info.Size)
		}
		if err == nil {
			err = check(text)
		}
		if err != nil {
			v.judge(info.Key, err) // one that has vanished is expired
		}
	}
	return v.readNotes(ctx)
}

// readNotes takes what gaps and holes say. Expire may remove one just when it is
// to be read.
func (v *verifier) readNotes(ctx context.Context) (err error) {
	const patience = 10
	c := &v.stock.coverage
	for range patience {
		c.Gaps, err = v.Gaps(ctx)
		if err == nil {
			c.Accepted, err = v.AcceptedHoles(ctx)
		}
		if !errors.Is(err, store.ErrNotExist) {
			break
		}
	}
	return err
}

// checkStart makes sure that the record of a backup's start can be read, which of a
// complete one nobody does, and was not cut. To read it takes less.
func (v *verifier) checkStart(ctx context.Context, label string) error {
	if _, err := v.ReadStart(ctx, label); err != nil {
		return err
	}
	text, err := v.Text(ctx, layout.BaseKey(label, layout.Start))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, "\t") || !strings.HasSuffix(line, "\n") {
			return fmt.Errorf("%w: a line of it is not whole", archive.ErrDamaged)
		}
	}
	return nil
}

package archive

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"pgpipes/lib/layout"
	"pgpipes/lib/note"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

// checkNotes reads the notes about gaps, holes, restores and what was done. Theirs are the
// last words on what may be missing, or must not go, so they have to be whole.
func (v *verifier) checkNotes(ctx context.Context) error {
	for _, info := range v.stock.notes {
		if !v.all() {
			break
		}
		check, ok := v.noteCheck(info.Key)
		if !ok {
			v.takeStranger(info.Key)
			continue
		}
		text, err := v.small(ctx, info.Key)
		if err == nil && int64(len(text)) != info.Size {
			err = fmt.Errorf("%s: %w: %d bytes are too many for it", info.Key, ErrDamaged, info.Size)
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

// noteCheck is what the text of a note has to stand, by its key.
func (v *verifier) noteCheck(key string) (check func(text []byte) error, ok bool) {
	prefix, name, _ := strings.Cut(key, "/")
	switch prefix + "/" {
	case layout.Gap:
		g, ok := v.parseGapKey(key)
		return func(text []byte) error { return checkGap(g, text) }, ok
	case layout.Hole:
		span, _, ok := v.parseSpan(name)
		return func(text []byte) error { return checkLines(text, acceptedTitle, acceptedFormat, "time", "by") }, ok && span.First.Kind == wal.Segment
	case layout.Restore:
		at, _, _ := strings.Cut(name, "-")
		_, err := time.Parse(recordTime, at)
		return func(text []byte) error {
			return checkLines(text, restoringTitle, restoringFormat, "backup", "time", "until")
		}, err == nil
	}
	_, err := time.Parse(recordTime, name)
	return func(text []byte) error { return checkRecord(prefix, text) }, err == nil
}

// checkLines makes sure that a note is whole, and has values for these keys.
func checkLines(text []byte, title string, format int, keys ...string) error {
	value, ok := note.Parse(text, title, format)
	if !ok {
		return fmt.Errorf("%w: it is not the text of such a note", ErrDamaged)
	}
	for _, key := range keys {
		if value[key] == "" {
			return fmt.Errorf("%w: it does not say %s", ErrDamaged, key)
		}
	}
	for _, key := range []string{"time", "from", "to", "until", "ended"} {
		if _, err := time.Parse(time.RFC3339, value[key]); value[key] != "" && err != nil {
			return fmt.Errorf("%w: %s is no time: %q", ErrDamaged, key, value[key])
		}
	}
	return nil
}

func checkGap(g Gap, text []byte) error {
	if err := checkLines(text, gapTitle, gapFormat, "from", "to"); err != nil {
		return err
	}
	value, _ := note.Parse(text, gapTitle, gapFormat)
	if value["first"] != g.First.String() || value["last"] != g.Last.String() || value["segments"] != strconv.FormatUint(g.Segments, 10) {
		return fmt.Errorf("%w: its text is about other segments than its name", ErrDamaged)
	}
	return nil
}

func checkRecord(kind string, text []byte) error {
	if err := checkLines(text, recordTitle, recordFormat, "kind"); err != nil {
		return err
	}
	if value, _ := note.Parse(text, recordTitle, recordFormat); value["kind"] != kind {
		return fmt.Errorf("%w: its text is one of another kind", ErrDamaged)
	}
	return nil
}

// checkStart makes sure that the record of a backup's start was not cut. To read
// it takes less.
func (v *verifier) checkStart(ctx context.Context, key string) error {
	text, err := v.small(ctx, key)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, "\t") || !strings.HasSuffix(line, "\n") {
			return fmt.Errorf("%w: a line of it is not whole", ErrDamaged)
		}
	}
	return nil
}

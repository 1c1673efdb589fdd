package archive

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"pgpipes/lib/layout"
	"pgpipes/lib/note"
	"pgpipes/lib/wal"
)

// NoteCheck is what the text of a note about a gap, a hole, a restore or what was
// done has to stand, by its key: to be whole, and to say what it must. To read it
// takes less. A key that is no such note's is not ok. The error of a check wraps
// ErrDamaged.
func (r *Repo) NoteCheck(key string) (check func(text []byte) error, ok bool) {
	prefix, name, _ := strings.Cut(key, "/")
	switch prefix + "/" {
	case layout.Gap:
		g, ok := r.ParseGapKey(key)
		return func(text []byte) error { return checkGap(g, text) }, ok
	case layout.Hole:
		span, _, ok := r.parseSpan(name)
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

package archive

import (
	"context"
	"errors"
	"strings"
	"time"

	"pgpipes/lib/store"
)

const (
	recordTitle  = "pgpipes-record"
	recordFormat = 1
	recordTime   = "20060102T150405Z"
)

// A Record says what came of something that is done again and again: that the
// repository was verified, or a restore of it tried. It is the object KIND/TIME,
// where TIME is when it began, a note whose keys depend on the kind, and that
// nothing but monitoring and reports depend on.
type Record struct {
	Kind   string // KindVerify or KindDrill
	Began  time.Time
	Values map[string]string
}

// Kinds of records.
const (
	KindVerify = "verify"
	KindDrill  = "drill"
)

// PutRecord stores a record; pairs are keys and values in turn.
func (r *Repo) PutRecord(ctx context.Context, kind string, began time.Time, pairs ...string) error {
	return r.putNote(ctx, recordKey(kind, began), writeLines(recordTitle, recordFormat, append([]string{"kind", kind}, pairs...)...))
}

func recordKey(kind string, began time.Time) string {
	return kind + "/" + began.UTC().Format(recordTime)
}

// Records lists the records of a kind, the oldest first. Those that are damaged
// are left out.
func (r *Repo) Records(ctx context.Context, kind string) ([]Record, error) {
	var all []Record
	for info, err := range r.List(ctx, kind+"/", "") {
		if err != nil {
			return nil, err
		}
		began, err := time.Parse(recordTime, strings.TrimPrefix(info.Key, kind+"/"))
		if err != nil {
			continue
		}
		text, err := r.small(ctx, info.Key)
		if errors.Is(err, store.ErrNotExist) { // it has just been removed
			continue
		}
		if err != nil {
			return nil, err
		}
		if values, ok := readLines(text, recordTitle, recordFormat); ok && values["kind"] == kind {
			all = append(all, Record{kind, began, values})
		}
	}
	return all, nil
}

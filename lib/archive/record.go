package archive

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"time"

	"pgpipes/lib/note"
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

// PutRecord stores a record; pairs are keys and values in turn. It gives way to
// another that began in the same second.
func (r *Repo) PutRecord(ctx context.Context, kind string, began time.Time, pairs ...string) error {
	text := note.Text(recordTitle, recordFormat, append([]string{"kind", kind}, pairs...)...)
	for {
		err := r.putText(ctx, recordKey(kind, began), text)
		if !errors.Is(err, store.ErrDiffers) {
			return err
		}
		began = began.Add(time.Second)
	}
}

func recordKey(kind string, began time.Time) string {
	return kind + "/" + began.UTC().Format(recordTime)
}

// RecordBegan is when the record with a key began.
func RecordBegan(kind, key string) (time.Time, error) {
	return time.Parse(recordTime, strings.TrimPrefix(key, kind+"/"))
}

// Records yields the records of a kind, the newest first. They are listed at once,
// but each is read when it is its turn: there may be thousands, and the last few
// tell most. Those that are damaged, or removed meanwhile, are left out.
func (r *Repo) Records(ctx context.Context, kind string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		keys, err := r.RecordKeys(ctx, kind)
		if err != nil {
			yield(Record{}, err)
			return
		}
		for _, key := range slices.Backward(keys) {
			record, ok, err := r.record(ctx, kind, key)
			if (ok || err != nil) && !yield(record, err) || err != nil {
				return
			}
		}
	}
}

// LastTelling is when the newest record of a kind began that makes older ones of no
// interest: a drill that passed, or a verification that has read everything. It is
// zero if there is none.
func (r *Repo) LastTelling(ctx context.Context, kind string) (time.Time, error) {
	for record, err := range r.Records(ctx, kind) {
		if err != nil || kind == KindDrill && record.Values["result"] == "ok" || record.Values["scope"] == "full" {
			return record.Began, err
		}
	}
	return time.Time{}, nil
}

// RecordKeys lists the keys of the records of a kind, the oldest first, and of what
// else lies there.
func (r *Repo) RecordKeys(ctx context.Context, kind string) (keys []string, err error) {
	for info, err := range r.List(ctx, kind+"/", "") {
		if err != nil {
			return nil, err
		}
		keys = append(keys, info.Key)
	}
	return keys, nil
}

func (r *Repo) record(ctx context.Context, kind, key string) (record Record, ok bool, err error) {
	began, err := RecordBegan(kind, key)
	if err != nil {
		return Record{}, false, nil
	}
	text, err := r.Text(ctx, key)
	if errors.Is(err, store.ErrNotExist) {
		return Record{}, false, nil
	}
	if err != nil {
		return Record{}, false, err
	}
	values, whole := note.Parse(text, recordTitle, recordFormat)
	return Record{kind, began, values}, whole && values["kind"] == kind, nil
}

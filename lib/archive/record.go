package archive

import (
	"context"
	"errors"
	"iter"
	"slices"
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
	for record, err := range r.NewestRecords(ctx, kind) {
		if err != nil {
			return nil, err
		}
		all = append(all, record)
	}
	slices.Reverse(all)
	return all, nil
}

// NewestRecords yields them the newest first. Only those that are asked for are
// read.
func (r *Repo) NewestRecords(ctx context.Context, kind string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		times, err := r.recordTimes(ctx, kind)
		if err != nil {
			yield(Record{}, err)
			return
		}
		for _, began := range slices.Backward(times) {
			record, whole, err := r.record(ctx, kind, began)
			if err != nil {
				yield(Record{}, err)
				return
			}
			if whole && !yield(record, nil) {
				return
			}
		}
	}
}

func (r *Repo) recordTimes(ctx context.Context, kind string) ([]time.Time, error) {
	var times []time.Time
	for info, err := range r.List(ctx, kind+"/", "") {
		if err != nil {
			return nil, err
		}
		if began, err := time.Parse(recordTime, strings.TrimPrefix(info.Key, kind+"/")); err == nil {
			times = append(times, began)
		}
	}
	return times, nil
}

func (r *Repo) record(ctx context.Context, kind string, began time.Time) (record Record, whole bool, err error) {
	text, err := r.small(ctx, recordKey(kind, began))
	if errors.Is(err, store.ErrNotExist) { // removed since
		return Record{}, false, nil
	}
	if err != nil {
		return Record{}, false, err
	}
	values, whole := readLines(text, recordTitle, recordFormat)
	return Record{kind, began, values}, whole && values["kind"] == kind, nil
}

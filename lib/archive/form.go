package archive

import (
	"context"
	"slices"

	"pgpipes/lib/codec"
	"pgpipes/lib/layout"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

// Forms lists the objects that hold a WAL file: none, one, or several if the
// codec was changed between two attempts to store it. That there is none does not
// yet prove the file absent: see ProveEnd.
func (r *Repo) Forms(ctx context.Context, n wal.Name) ([]store.Info, error) {
	var found []store.Info
	key := layout.WALKey(n)
	for info, err := range r.List(ctx, key, "") {
		if err != nil {
			return nil, err
		}
		if plain, _ := codec.SplitName(info.Key); plain == key {
			found = append(found, info)
		}
	}
	return found, nil
}

// CompareForms orders the forms of one file: checksummed codecs before none, in an
// order that is always the same.
func CompareForms(a, b store.Info) int { return formRank(a.Key) - formRank(b.Key) }

func formRank(key string) int {
	_, f := codec.SplitName(key)
	return slices.Index(codec.Formats(), f)
}

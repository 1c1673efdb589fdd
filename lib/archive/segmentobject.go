package archive

import (
	"context"
	"iter"

	"pgpipes/lib/layout"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

// SegmentObjects yields what holds whole segments, by timeline and number. A
// segment that is stored in two codecs comes twice.
func (r *Repo) SegmentObjects(ctx context.Context) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		for info, err := range r.List(ctx, layout.WAL, "") {
			if err != nil {
				yield(store.Info{}, err)
				return
			}
			if n, _, ok := layout.ParseWALKey(info.Key); ok && n.Kind == wal.Segment && !yield(info, nil) {
				return
			}
		}
	}
}

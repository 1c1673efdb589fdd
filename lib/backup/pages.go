package backup

import (
	"cmp"
	"io"
	"slices"
	"sync"
	"time"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/stream"
	"pgpipes/lib/wal"
)

const (
	// warnedBad is how many bad pages are told of, which must not grow with
	// their number.
	warnedBad = 20

	rereads     = 5
	rereadPause = 10 * time.Millisecond
)

// tallyOfPages are pages with wrong checksums: all are counted, the first of
// them are known.
type tallyOfPages struct {
	first   []manifest.BadPage
	all     int
	excused []excused
}

// An excused page has a wrong checksum, and an LSN by which replay brings it whole:
// if the backup turns out to end before that, it is damaged.
type excused struct {
	page manifest.BadPage
	lsn  wal.LSN
}

func (t *tallyOfPages) add(pages ...manifest.BadPage) {
	t.all += len(pages)
	t.first = append(t.first, pages[:min(len(pages), manifest.MostBadPages-len(t.first))]...)
}

// excuse notes pages until the end of the backup is known. If there are very many
// those stay that say they are of the furthest.
func (t *tallyOfPages) excuse(pages ...excused) {
	t.excused = append(t.excused, pages...)
	if len(t.excused) > 2*manifest.MostBadPages {
		slices.SortFunc(t.excused, func(a, b excused) int { return cmp.Compare(b.lsn, a.lsn) })
		t.excused = t.excused[:manifest.MostBadPages]
	}
}

// badPages are those of a whole copy, for several goroutines.
type badPages struct {
	mu   sync.Mutex
	all  tallyOfPages
	warn func(format string, args ...any)
}

// take adds the pages of a part that is written.
func (b *badPages) take(t tallyOfPages) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, p := range t.first {
		if b.all.all+i < warnedBad {
			b.warn("%s: block %d: wrong checksum: %s at first, %s at last", p.Path, p.Block, p.First, p.Last)
		}
	}
	b.all.add(t.first...)
	b.all.all += t.all - len(t.first)
	b.all.excuse(t.excused...)
}

// settle finds the pages that cannot be excused when the end of the backup is known:
// no page was written by a record of the log that was not there yet. It is for one
// goroutine.
func (b *badPages) settle(end wal.LSN) {
	var damaged tallyOfPages
	for _, e := range b.all.excused {
		if e.lsn > end {
			damaged.add(e.page)
		}
	}
	b.all.excused = nil
	b.take(damaged)
}

// checkPages verifies the page checksums of a piece of a relation's file. A page
// that is not right is read again, as the server may be writing it, and what then is
// good goes into the copy.
func (w *worker) checkPages(f io.ReaderAt, piece []byte, at int64, name string, first uint32) {
	size := int(w.tree.control.BlockSize)
	for i := 0; i+size <= len(piece); i += size {
		page := piece[i : i+size]
		block := first + uint32((at+int64(i))/int64(size))
		if isRight(pgdata.CheckPage(page, block, w.tree.start)) {
			continue
		}
		bad := manifest.BadPage{Path: name, Block: block, First: stream.PageSum(page, block)}
		last, verdict := w.reread(f, page, at+int64(i), block)
		if isRight(verdict) {
			continue
		}
		bad.Last = stream.PageSum(last, block)
		w.bad.note(bad, verdict, last)
	}
}

func isRight(v pgdata.PageVerdict) bool { return v != pgdata.PageBad && v != pgdata.PageSkipped }

// note takes a page that is not right.
func (t *tallyOfPages) note(bad manifest.BadPage, v pgdata.PageVerdict, page []byte) {
	if v == pgdata.PageSkipped {
		t.excuse(excused{bad, pgdata.PageLSN(page)})
		return
	}
	t.add(bad)
}

// reread tries whether a page is right after all. It returns what was read last,
// and what that is.
func (w *worker) reread(f io.ReaderAt, page []byte, at int64, block uint32) (last []byte, v pgdata.PageVerdict) {
	again := append([]byte(nil), page...)
	for range rereads {
		time.Sleep(rereadPause)
		switch n, err := f.ReadAt(again, at); {
		case err == io.EOF && n < len(again):
			return nil, pgdata.PageNew // truncated meanwhile
		case err != nil && err != io.EOF:
			return page, pgdata.CheckPage(page, block, w.tree.start)
		}
		v = pgdata.CheckPage(again, block, w.tree.start)
		if v != pgdata.PageBad {
			copy(page, again)
		}
		if isRight(v) {
			break
		}
	}
	return again, v
}

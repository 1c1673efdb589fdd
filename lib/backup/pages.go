package backup

import (
	"io"
	"sync"
	"time"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/stream"
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
	first []manifest.BadPage
	all   int
}

func (t *tallyOfPages) add(pages ...manifest.BadPage) {
	t.all += len(pages)
	t.first = append(t.first, pages[:min(len(pages), manifest.MostBadPages-len(t.first))]...)
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
}

// checkPages verifies the page checksums of a piece of a relation's file. A bad
// page is read again, as the server may be writing it, and what then is good
// goes into the copy.
func (w *worker) checkPages(f io.ReaderAt, piece []byte, at int64, name string, first uint32) {
	size := int(w.tree.control.BlockSize)
	for i := 0; i+size <= len(piece); i += size {
		page := piece[i : i+size]
		block := first + uint32((at+int64(i))/int64(size))
		if pgdata.CheckPage(page, block, w.tree.start) != pgdata.PageBad {
			continue
		}
		bad := manifest.BadPage{Path: name, Block: block, First: stream.PageSum(page, block)}
		if last, good := w.reread(f, page, at+int64(i), block); !good {
			bad.Last = stream.PageSum(last, block)
			w.bad.add(bad)
		}
	}
}

// reread tries whether a page is good after all. If not it returns what was read
// last.
func (w *worker) reread(f io.ReaderAt, page []byte, at int64, block uint32) (last []byte, good bool) {
	again := append([]byte(nil), page...)
	for range rereads {
		time.Sleep(rereadPause)
		switch n, err := f.ReadAt(again, at); {
		case err == io.EOF && n < len(again):
			return nil, true // truncated meanwhile
		case err != nil && err != io.EOF:
			return page, false
		}
		if pgdata.CheckPage(again, block, w.tree.start) != pgdata.PageBad {
			copy(page, again)
			return nil, true
		}
	}
	return again, false
}

package inspect

import (
	"io"
	"math"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/stream"
	"pgpipes/lib/wal"
)

// relationFile is how large the files of a relation become, in bytes, unless the
// server was built otherwise.
const relationFile = 1 << 30

// A location is where a version of a file lies.
type location struct{ part, path string }

// storedPages checks the pages of stored relations: what an interrupted copy has
// found bad was recorded nowhere.
type storedPages struct {
	control pgdata.Control // knows which files have checksums
	size    int            // of a page, in bytes
	part    string
	bad     map[location][]manifest.BadPage
	all     int
}

func newStoredPages(h manifest.Header, part string) *storedPages {
	s := &storedPages{size: h.BlockSize, part: part, bad: map[location][]manifest.BadPage{}}
	if h.BlockSize > 0 {
		s.control = pgdata.Control{Checksums: h.Checksums, RelationSegmentBlocks: relationFile / uint32(h.BlockSize)}
	}
	return s
}

// place takes a file of a part.
func (s *storedPages) place(m stream.Member) (io.WriteCloser, error) {
	if first, checked := s.control.FirstBlock(m.Path); checked {
		return &storedRelation{storedPages: s, path: m.Path, block: first}, nil
	}
	return stream.Nowhere{}, nil
}

// storedRelation takes a file, in pieces of whole pages but for the last.
type storedRelation struct {
	*storedPages
	path  string
	block uint32
}

func (r *storedRelation) Write(p []byte) (int, error) {
	for at := 0; at+r.size <= len(p); at += r.size {
		r.check(p[at : at+r.size])
		r.block++
	}
	return len(p), nil
}

// atRest is for pages of which none is excused: where one was stored while the
// server was writing it, the file is another by now, and is copied again.
const atRest = wal.LSN(math.MaxUint64)

// check notes a bad page. What the copy has read last is all there is to know.
func (r *storedRelation) check(page []byte) {
	if r.all == manifest.MostBadPages || pgdata.CheckPage(page, r.block, atRest) != pgdata.PageBad {
		return
	}
	r.all++
	sum, at := stream.PageSum(page, r.block), location{r.part, r.path}
	r.bad[at] = append(r.bad[at], manifest.BadPage{Block: r.block, First: sum, Last: sum, Path: r.path})
}

func (r *storedRelation) Close() error { return nil }

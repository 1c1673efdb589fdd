package pgdata

import (
	"encoding/binary"

	"pgpipes/lib/wal"
)

// PageVerdict is the result of looking at one page of a relation.
type PageVerdict int

// The verdicts. Only PageBad is a fault, and only if it stays so when the page is
// read again: a page that the server is just writing can be seen half old and
// half new.
const (
	PageGood    PageVerdict = iota // its checksum is right
	PageNew                        // all zeros, as a page is before its first use
	PageSkipped                    // not right, but written since the backup began, if its LSN is: replay brings it whole
	PageBad                        // damaged
)

// Places in the header of a page (bufpage.h: PageHeaderData).
const (
	pageLSNHigh  = 0
	pageLSNLow   = 4
	pageUpper    = 14
	pageHeadSize = 24
)

// CheckPage looks at one page of a relation of a cluster with page checksums.
// block is its number as for [PageChecksum]; start is where the backup began.
// The log from there on holds whole images of all pages changed since, so the
// state of such a page in the copy does not matter. What damage has made of an LSN
// is mostly behind the end of the log, see [PageLSN]: when that is known it has to
// be compared. For a cluster at rest pass the largest LSN, so that no page is
// excused.
//
// A page without content (pd_upper is 0) has no checksum and must be zero
// throughout, as bufpage.c:PageIsVerified demands when the server reads it;
// the server's own base backup lets such a page pass whatever it holds.
//
// Only files of relations have such pages (see [ParseRelation]), of all forks;
// pg_xact, pg_filenode.map and others have none.
func CheckPage(page []byte, block uint32, start wal.LSN) PageVerdict {
	if len(page) < pageHeadSize || len(page)%rowSize != 0 {
		return PageBad
	}
	le := binary.LittleEndian
	if le.Uint16(page[pageUpper:]) == 0 {
		if allZero(page) {
			return PageNew
		}
	} else if le.Uint16(page[checksumOffset:]) == PageChecksum(page, block) {
		return PageGood
	}
	if PageLSN(page) >= start {
		return PageSkipped
	}
	return PageBad
}

// PageLSN is the end of the last record of the log that has changed a page.
func PageLSN(page []byte) wal.LSN {
	le := binary.LittleEndian
	return wal.LSN(le.Uint32(page[pageLSNHigh:]))<<32 | wal.LSN(le.Uint32(page[pageLSNLow:]))
}

// allZero compares eight bytes at a time; the length of a page is a multiple.
func allZero(page []byte) bool {
	for ; len(page) >= 8; page = page[8:] {
		if binary.NativeEndian.Uint64(page) != 0 {
			return false
		}
	}
	return true
}

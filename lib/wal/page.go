package wal

import (
	"encoding/binary"
	"fmt"
)

// pageHeader is the length of the header of all pages but a segment's first
// (xlog_internal.h: SizeOfXLogShortPHD).
const pageHeader = 24

// Bits of a page's info (xlog_internal.h: XLP_*). longHeader is another one, and
// what is left says whether a backup was running. Version 19 numbers them anew.
const (
	continuesRecord  = 0x0001 // the page begins with the rest of a record
	overwritesRecord = 0x0008 // it does not, although the page before it ends with an unfinished one
	allBits          = 0x000F
)

// A page is what the header of a page says besides what Header has.
type page struct {
	info uint16
	tli  Timeline
	rest uint32 // how much of a record is still to come
}

// parsePage reads the header of the page that begins at a place of a segment
// that began with header h. What is wrong is returned as text.
func parsePage(b []byte, h Header, at LSN) (page, string) {
	le := binary.LittleEndian
	p := page{info: le.Uint16(b[2:]), tli: Timeline(le.Uint32(b[4:])), rest: le.Uint32(b[16:])}
	long := p.info&longHeader != 0
	switch {
	case le.Uint16(b) != h.Magic:
		return p, fmt.Sprintf("magic 0x%04X, that of the first page is 0x%04X", le.Uint16(b), h.Magic)
	case p.info&^allBits != 0:
		return p, fmt.Sprintf("unknown bits in info 0x%04X", p.info)
	case long != (at == h.PageAddr):
		return p, fmt.Sprintf("a header of the wrong length (info 0x%04X)", p.info)
	case LSN(le.Uint64(b[8:])) != at:
		return p, fmt.Sprintf("it says that it is the page at %s", LSN(le.Uint64(b[8:])))
	case (p.rest != 0) != p.continues(), p.continues() && p.overwrites(), p.rest > maxRecord:
		return p, fmt.Sprintf("info 0x%04X does not go with %d bytes that continue a record", p.info, p.rest)
	case le.Uint32(b[20:]) != 0:
		return p, "the padding of the header is not zero"
	}
	return p, ""
}

func (p page) continues() bool  { return p.info&continuesRecord != 0 }
func (p page) overwrites() bool { return p.info&overwritesRecord != 0 }

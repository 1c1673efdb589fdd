package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Faults of a segment's first page.
var (
	ErrHeader   = errors.New("wal: bad segment header")
	ErrMismatch = errors.New("wal: segment header disagrees with the name")
)

// HeaderSize is the length in bytes of the header that begins every segment
// (xlog_internal.h: XLogLongPageHeaderData).
const HeaderSize = 40

// longHeader is the bit of Info that is set on the first page of every segment
// (XLP_LONG_HEADER).
const longHeader = 0x0002

// magics says which major release writes which mark. A server refuses the WAL
// of every other release by it (xlog_internal.h: XLOG_PAGE_MAGIC).
var magics = map[uint16]int{
	0xD106: 13,
	0xD10D: 14,
	0xD110: 15,
	0xD113: 16,
	0xD116: 17,
	0xD118: 18,
}

// Header is what a segment's first page says about it.
type Header struct {
	Magic       uint16
	Info        uint16   // flag bits
	Timeline    Timeline // of the first page, see Check
	PageAddr    LSN      // of the segment's first byte
	SystemID    uint64   // of the cluster
	SegmentSize SegmentSize
	BlockSize   uint32 // of a WAL page, in bytes
}

// ParseHeader reads the first HeaderSize bytes of a segment; more are ignored.
// Every error wraps ErrHeader. A header that it accepts is one that a
// little-endian server from 13 to 18 writes; whether it belongs to this file is
// for [Header.Check] to say.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, fmt.Errorf("%w: %d bytes, not the %d of a header", ErrHeader, len(b), HeaderSize)
	}
	b = b[:HeaderSize]
	if allZero(b) {
		return Header{}, fmt.Errorf("%w: all zeros, the segment was never written", ErrHeader)
	}
	h := decodeHeader(b)
	return h, h.validate()
}

// decodeHeader follows XLogPageHeaderData and XLogLongPageHeaderData; bytes 16
// to 23 are the length of a record continued from the page before, and padding.
func decodeHeader(b []byte) Header {
	le := binary.LittleEndian
	return Header{
		Magic:       le.Uint16(b[0:]),
		Info:        le.Uint16(b[2:]),
		Timeline:    Timeline(le.Uint32(b[4:])),
		PageAddr:    LSN(le.Uint64(b[8:])),
		SystemID:    le.Uint64(b[24:]),
		SegmentSize: SegmentSize(le.Uint32(b[32:])),
		BlockSize:   le.Uint32(b[36:]),
	}
}

func (h Header) validate() error {
	switch {
	case h.Major() == 0:
		return fmt.Errorf("%w: not a WAL segment of PostgreSQL 13 to 18 (unknown magic 0x%04X)", ErrHeader, h.Magic)
	case h.Info&longHeader == 0:
		return fmt.Errorf("%w: no long header, this page is not the first of a segment (info 0x%04X)", ErrHeader, h.Info)
	case !h.SegmentSize.Valid():
		return fmt.Errorf("%w: odd segment size %d, not a power of two from 1 MiB to 1 GiB", ErrHeader, h.SegmentSize)
	case !validBlockSize(h.BlockSize):
		return fmt.Errorf("%w: odd block size %d, not a power of two from 1 KiB to 64 KiB", ErrHeader, h.BlockSize)
	case h.Timeline == 0:
		return fmt.Errorf("%w: timeline 0", ErrHeader)
	}
	return nil
}

// validBlockSize holds for the values of XLOG_BLCKSZ that a server can be
// compiled with.
func validBlockSize(n uint32) bool {
	return n >= 1<<10 && n <= 64<<10 && n&(n-1) == 0
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// Major is the major release that writes such a header, 13 to 18, or 0 if the
// mark is unknown.
func (h Header) Major() int {
	return magics[h.Magic]
}

// Check compares the header with the name of the segment (or partial segment)
// that it was read from. The page address must be that of the name. The timeline
// may be lower than the name's: the first segment of a new timeline is a copy of
// its parent's up to the switch point (xlog.c:XLogInitNewTimeline), and its
// first page keeps the parent's number. Errors wrap ErrMismatch.
func (h Header) Check(n Name) error {
	if n.Kind != Segment && n.Kind != Partial {
		return fmt.Errorf("%w: %s is not a segment", ErrMismatch, n)
	}
	number, err := h.SegmentSize.Split(n)
	if err != nil {
		return fmt.Errorf("%w: %v", ErrMismatch, err)
	}
	if h.PageAddr != h.SegmentSize.Start(number) {
		return fmt.Errorf("%w: %s begins at %s, the header says %s (segment %s)", ErrMismatch,
			n, h.SegmentSize.Start(number), h.PageAddr, h.SegmentSize.Name(h.Timeline, h.SegmentSize.Number(h.PageAddr)))
	}
	if h.Timeline > n.Timeline {
		return fmt.Errorf("%w: %s has pages of the later timeline %d", ErrMismatch, n, uint32(h.Timeline))
	}
	return nil
}

// FirstRecord is where a record begins that a server writes when its log has come to
// a place in the segment: behind the header of the page, if one begins there.
func (h Header) FirstRecord(at LSN) LSN {
	switch {
	case at == h.PageAddr:
		return at + HeaderSize
	case at%LSN(h.BlockSize) == 0:
		return at + pageHeader
	}
	return at
}

// NextPage is the first page that begins at a place or behind it.
func (h Header) NextPage(at LSN) LSN {
	size := LSN(h.BlockSize)
	return (at + size - 1) / size * size
}

package wal

import (
	"fmt"
)

// SegmentSize is the size of a cluster's WAL files in bytes. It is chosen by
// initdb --wal-segsize and can be changed by pg_resetwal, so it has to be read
// (from pg_control or from a segment's header), never assumed.
type SegmentSize int64

// Smallest and largest size a server can use (xlog_internal.h: WalSegMinSize,
// WalSegMaxSize).
const (
	MinSegmentSize SegmentSize = 1 << 20
	MaxSegmentSize SegmentSize = 1 << 30
)

// Valid reports whether a server can use this size: a power of two from 1 MiB
// to 1 GiB. The other methods must be called on valid sizes only.
func (s SegmentSize) Valid() bool {
	return s >= MinSegmentSize && s <= MaxSegmentSize && s&(s-1) == 0
}

// Number is the number of the segment that holds the byte at l.
func (s SegmentSize) Number(l LSN) uint64 {
	return uint64(l) / uint64(s)
}

// LastNumber is the number of the last segment of a range that ends before end.
// It differs from Number(end) where end is a segment's first byte: a backup that
// stops there does not need that segment.
func (s SegmentSize) LastNumber(end LSN) uint64 {
	if end == 0 {
		return 0
	}
	return s.Number(end - 1)
}

// Start is the place of the first byte of segment n.
func (s SegmentSize) Start(n uint64) LSN {
	return LSN(n * uint64(s))
}

// Name is the file name of segment n on a timeline (xlog_internal.h:
// XLogFileName).
func (s SegmentSize) Name(tli Timeline, n uint64) string {
	per := s.perLog()
	return fmt.Sprintf("%08X%08X%08X", uint32(tli), uint32(n/per), uint32(n%per))
}

// Split is the segment number in a name, the inverse of Name. It is an error if
// the name has none (a timeline history), or if no segment of this size can have
// the name: with 16 MiB segments 000000010000000000000100 does not exist.
func (s SegmentSize) Split(name Name) (uint64, error) {
	if name.Kind == TimelineHistory {
		return 0, fmt.Errorf("%s: a timeline history has no segment number", name)
	}
	per := s.perLog()
	if uint64(name.Low) >= per {
		return 0, fmt.Errorf("%s: %w with segments of %d bytes: the last eight digits end at %08X", name, ErrName, s, per-1)
	}
	return uint64(name.Log)*per + uint64(name.Low), nil
}

// perLog is how many segments share the middle eight digits of their names.
func (s SegmentSize) perLog() uint64 {
	return (1 << 32) / uint64(s)
}

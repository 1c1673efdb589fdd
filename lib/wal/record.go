package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// ErrRecord is wrapped by the error of a log that is damaged between the first
// header of a segment and its end.
var ErrRecord = errors.New("wal: damaged log")

// A Damage is a place at which the log cannot be read on.
type Damage struct {
	Name Name   // of the segment
	Page bool   // it is the page's header, not a record
	At   LSN    // where the page or the record begins
	What string // is wrong
}

// Error is one line such as
//
//	000000010000000000000005: record at 0/5000A28: the CRC is wrong
func (d *Damage) Error() string {
	thing := "record"
	if d.Page {
		thing = "page"
	}
	return fmt.Sprintf("%s: %s at %s: %s", d.Name, thing, d.At, d.What)
}

// Unwrap is ErrRecord.
func (d *Damage) Unwrap() error { return ErrRecord }

const (
	recordHeader = 24         // bytes before a record's data (xlogrecord.h: SizeOfXLogRecord)
	recordCRC    = 20         // offset of the CRC, which covers the data first and then the header up to here
	recordAlign  = 8          // records begin at multiples of it (MAXIMUM_ALIGNOF)
	maxRecord    = 0x3fffffff // no server reads a longer one (memutils.h: MaxAllocSize)
)

// Resource managers (rmgrlist.h). The server's own are the same from 13 to 18;
// extensions can have some since 15 (rmgr.h: RM_MIN_CUSTOM_ID).
const (
	managerLog         = 0
	managerTransaction = 1
	lastManager        = 21
	firstExtension     = 128
	firstWithThem      = 15
)

// What managers write, in the upper bits of Info (pg_control.h, xact.h).
const (
	managerMask     = 0xF0
	logSwitch       = 0x40 // the rest of the segment is not used
	logRestorePoint = 0x70
	logOverwrite    = 0xD0 // a record before it was never finished

	transactionMask = 0x70
	commit          = 0x00
	abort           = 0x20
	commitPrepared  = 0x30
	abortPrepared   = 0x40
)

// A Record is the header of a record.
type Record struct {
	At      LSN    // where it begins
	Length  uint32 // in bytes, without page headers in between
	Prev    LSN    // the record before it
	Info    uint8
	Manager uint8 // which wrote it
}

// decodeRecord reads the recordHeader bytes that begin a record.
func decodeRecord(at LSN, b []byte) Record {
	le := binary.LittleEndian
	return Record{At: at, Length: le.Uint32(b), Prev: LSN(le.Uint64(b[8:])), Info: b[16], Manager: b[17]}
}

// is reports whether it is one of the log's own records of a kind.
func (r Record) is(kind uint8) bool { return r.Manager == managerLog && r.Info&managerMask == kind }

// unknown says what a server of that major would not know of the record, "" if
// all is well.
func (r Record) unknown(major int) string {
	if r.Manager <= lastManager || (r.Manager >= firstExtension && major >= firstWithThem) {
		return ""
	}
	return fmt.Sprintf("unknown resource manager %d", r.Manager)
}

// What can be wrong with a record.
const (
	badCRC  = "the CRC is wrong"
	badTorn = "it does not go with the unfinished record before it"
)

// linkFault is what is wrong with a record that does not follow the one before.
func linkFault(got, want LSN) string {
	if got == 0 {
		return "it follows no record, as after pg_resetwal, not that at " + want.String()
	}
	return fmt.Sprintf("it follows the record at %s, not that at %s", got, want)
}

// leadSize is how much of the beginning of a record is kept in memory.
const leadSize = 128

// A run is a stretch of the bytes of a record that pages or segments part. Its
// first bytes are kept, and of the others a CRC.
type run struct {
	at   LSN    // where the record begins, 0 if that is not known
	size uint32 // how long the run is to become
	got  uint32
	skip uint32 // the CRC is of the bytes from here on
	crc  uint32
	lead [leadSize]byte
}

func (r *run) missing() uint32 { return r.size - r.got }

func (r *run) add(p []byte) {
	if r.got < leadSize {
		copy(r.lead[r.got:], p)
	}
	if bare := int(r.skip) - int(r.got); bare < len(p) {
		r.crc = crc32.Update(r.crc, castagnoli, p[max(bare, 0):])
	}
	r.got += uint32(len(p))
}

// join adds what the next segment has of the same record.
func (r *run) join(next *run) {
	kept := next.kept()
	r.add(kept)
	others := next.got - uint32(len(kept))
	r.crc = joinCRC(r.crc, next.crc, others)
	r.got += others
}

// kept is what is known of the bytes themselves.
func (r *run) kept() []byte { return r.lead[:min(r.got, leadSize)] }

// record is the header, which must have been read.
func (r *run) record() Record { return decodeRecord(r.at, r.lead[:]) }

// intact compares the CRC of a whole record.
func (r *run) intact() bool {
	return crc32.Update(r.crc, castagnoli, r.lead[:recordCRC]) == binary.LittleEndian.Uint32(r.lead[recordCRC:])
}

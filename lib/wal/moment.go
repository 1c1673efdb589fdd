package wal

import (
	"bytes"
	"encoding/binary"
	"time"
)

// A Moment is a record that says when it was written, and at which a recovery
// can stop.
type Moment struct {
	At   LSN
	Time time.Time // in UTC, to the microsecond
	Kind MomentKind
	Name string // of a restore point
}

// MomentKind says what happened.
type MomentKind int

// The kinds of moments. Prepared transactions count like others.
const (
	Commit MomentKind = iota
	Abort
	RestorePoint
)

// A Listener is told what is read. Functions that are nil are not called.
type Listener struct {
	Record func(Record) // of every record that is whole
	Moment func(Moment) // of those among them that have a time
}

// tell reports a record, of which lead is the beginning.
func (l Listener) tell(r Record, lead []byte) {
	if l.Record != nil {
		l.Record(r)
	}
	if l.Moment == nil {
		return
	}
	if m, ok := parseMoment(r, lead); ok {
		l.Moment(m)
	}
}

// parseMoment reads a commit, an abort (xact.h: xl_xact_commit, xl_xact_abort)
// or a restore point (xlog_internal.h: xl_restore_point). All begin with the
// time.
func parseMoment(r Record, lead []byte) (Moment, bool) {
	kind, ok := momentKind(r)
	if !ok {
		return Moment{}, false
	}
	data, ok := mainData(lead)
	if !ok || len(data) < 8 {
		return Moment{}, false
	}
	m := Moment{At: r.At, Kind: kind, Time: serverTime(binary.LittleEndian.Uint64(data))}
	if kind == RestorePoint {
		name, _, _ := bytes.Cut(data[8:], []byte{0})
		m.Name = string(name)
	}
	return m, true
}

// epoch is the time that PostgreSQL counts from, in microseconds of Unix time
// (timestamp.h: POSTGRES_EPOCH_JDATE).
const epoch = 946684800e6

// serverTime is a TimestampTz.
func serverTime(t uint64) time.Time { return time.UnixMicro(int64(t) + epoch).UTC() }

func momentKind(r Record) (MomentKind, bool) {
	if r.is(logRestorePoint) {
		return RestorePoint, true
	}
	if r.Manager != managerTransaction {
		return 0, false
	}
	switch r.Info & transactionMask {
	case commit, commitPrepared:
		return Commit, true
	case abort, abortPrepared:
		return Abort, true
	}
	return 0, false
}

// Marks of the parts that a record's header can be followed by (xlogrecord.h:
// XLR_BLOCK_ID_DATA_SHORT and the following). Lower ones are blocks of
// relations.
const (
	dataShort   = 255 // the length in one byte
	dataLong    = 254 // in four
	origin      = 253 // two bytes
	topLevelXID = 252 // four bytes
)

// mainData is what of a record's main data lies in lead. Records that refer to
// blocks of relations have theirs after these; none that has a time does
// (xact.c: XactLogCommitRecord, XactLogAbortRecord; xlog.c: XLogRestorePoint).
func mainData(lead []byte) ([]byte, bool) {
	for b := lead[min(recordHeader, len(lead)):]; len(b) > 5; {
		switch b[0] {
		case origin:
			b = b[3:]
		case topLevelXID:
			b = b[5:]
		case dataShort:
			return b[2:], true
		case dataLong:
			return b[5:], true
		default:
			return nil, false
		}
	}
	return nil, false
}

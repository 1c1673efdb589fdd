package wal

import (
	"encoding/binary"
	"hash/crc32"
)

// readRecord reads the record that begins at an offset in a page, or as much of
// it as there is, and returns where it ends.
func (w *Walk) readRecord(b []byte, pos int) (int, error) {
	at, rest := w.at+LSN(pos), b[pos:]
	length := binary.LittleEndian.Uint32(rest)
	if length-recordHeader > maxRecord-recordHeader {
		return w.noRecord(at, length)
	}
	if int(length) > len(rest) {
		w.own = run{at: at, size: length, skip: recordHeader}
		w.run = &w.own
		return w.goOn(b, pos)
	}
	rest = rest[:length]
	r := decodeRecord(at, rest)
	if err := w.checkLink(r); err != nil {
		return 0, err
	}
	sum := crc32.Update(crc32.Update(0, castagnoli, rest[recordHeader:]), castagnoli, rest[:recordCRC])
	if sum != binary.LittleEndian.Uint32(rest[recordCRC:]) {
		return 0, w.badRecord(at, badCRC)
	}
	if err := w.finish(r, rest); err != nil {
		return 0, err
	}
	return w.align(b, pos+len(rest), at)
}

// noRecord finds out why there is none.
func (w *Walk) noRecord(at LSN, length uint32) (int, error) {
	switch {
	case length != 0:
		return 0, w.badRecord(at, "impossible length %d", length)
	case w.link.Name.Kind == Partial || !w.mayHaveSwitched():
		return 0, w.badRecord(at, "the log ends here, without a switch of segments")
	}
	w.link.switched, w.over = true, true
	return 0, nil
}

// mayHaveSwitched reports whether all that was read so far is the end of a record
// that began in the segment before, and that may be a switch. The server can put
// its header across the border.
func (w *Walk) mayHaveSwitched() bool {
	h := &w.link.head
	if h.size == 0 || h.size >= recordHeader || h.missing() > 0 || w.link.first.At != 0 {
		return false
	}
	var header [recordHeader]byte
	copy(header[recordHeader-h.size:], h.kept())
	return decodeRecord(0, header[:]).is(logSwitch)
}

// goOn reads what a page has of a record that is longer than that.
func (w *Walk) goOn(b []byte, pos int) (int, error) {
	r := w.run
	n := min(int(r.missing()), len(b)-pos)
	hadHeader := r.got >= recordHeader
	r.add(b[pos : pos+n])
	if r == &w.own && !hadHeader && r.got >= recordHeader {
		if err := w.checkLink(r.record()); err != nil {
			return 0, err
		}
	}
	if r.missing() > 0 {
		return len(b), nil
	}
	w.run = nil
	if r == &w.own {
		if !r.intact() {
			return 0, w.badRecord(r.at, badCRC)
		}
		if err := w.finish(r.record(), r.kept()); err != nil {
			return 0, err
		}
	}
	return w.align(b, pos+n, r.at)
}

// checkLink compares a record's header with the record before it.
func (w *Walk) checkLink(r Record) error {
	if bad := r.unknown(w.major); bad != "" {
		return w.badRecord(r.At, "%s", bad)
	}
	if w.link.first.At == 0 {
		w.link.first, w.prev = r, r.Prev
	}
	if r.Prev != w.prev || r.Prev >= r.At {
		return w.badRecord(r.At, "%s", linkFault(r.Prev, w.prev))
	}
	return nil
}

// finish takes a record that is whole.
func (w *Walk) finish(r Record, lead []byte) error {
	w.prev, w.link.last = r.At, r.At
	if r.Manager == managerLog {
		if bad := w.finishLog(r, lead); bad != "" {
			return w.badRecord(r.At, "%s", bad)
		}
	} else if w.torn {
		return w.badRecord(r.At, "%s", badTorn)
	}
	w.tell(r, lead)
	return nil
}

// finishLog minds the records that are about the log itself.
func (w *Walk) finishLog(r Record, lead []byte) string {
	if w.torn != r.is(logOverwrite) {
		return badTorn
	}
	if w.torn {
		return w.mend(lead)
	}
	w.over = r.is(logSwitch)
	return ""
}

// mend compares the unfinished record with that which the log says it was
// (xlog_internal.h: xl_overwrite_contrecord).
func (w *Walk) mend(lead []byte) string {
	data, ok := mainData(lead)
	if !ok || len(data) < 8 {
		return badTorn
	}
	named := LSN(binary.LittleEndian.Uint64(data))
	if w.tornRun == 0 {
		w.link.overwritten = named
	} else if named != w.tornRun {
		return badTorn
	}
	w.torn, w.tornRun = false, 0
	return ""
}

// align goes to where the next record begins. What lies between is zero, as
// pages are when the server begins them (xlog.c: AdvanceXLInsertBuffer).
func (w *Walk) align(b []byte, pos int, at LSN) (int, error) {
	end := (pos + recordAlign - 1) &^ (recordAlign - 1)
	if !allZero(b[pos:end]) {
		return 0, w.badRecord(at, "the padding after it is not zero")
	}
	w.end = w.at + LSN(end)
	return end, nil
}

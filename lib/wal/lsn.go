// Package wal knows the names of PostgreSQL's write-ahead log files, and what is
// in them: headers, and records as far as it takes to see that they are whole.
// It computes and compares; it does no input or output.
//
// The log of a server is one long sequence of bytes. A place in it is an [LSN].
// It is cut into files of equal size, the segments, 16 MiB each unless the
// cluster was made otherwise. Each promotion of a standby and each
// point-in-time recovery begins a new [Timeline], which shares the log of its
// parent up to the switch point.
//
// # Format
//
// Four kinds of files can be offered to an archive, and [ParseName] accepts
// these and nothing else (all digits hexadecimal, upper case):
//
//	0000000100000000000000A5                    a segment: timeline, high and low word of its number
//	0000000100000000000000A5.partial            the unfinished last segment of a timeline that was left
//	0000000100000000000000A5.00000028.backup    notes on a base backup that began in that segment
//	00000002.history                            the ancestors of a timeline
//
// The low word counts segments within 4 GiB of log, so its range depends on the
// segment size: 00 to FF with 16 MiB, 000 to FFF with 1 MiB, 0 to 3 with 1 GiB.
// All arithmetic is therefore methods of [SegmentSize].
//
// A segment is made of pages, each with a header, and the log is a sequence of
// records that runs over the borders of pages and segments. A [Walk] reads the
// records of one segment, a [Chain] joins what was walked.
package wal

import (
	"fmt"
	"strconv"
	"strings"
)

// LSN is a place in the log, in bytes from its beginning.
type LSN uint64

// ParseLSN reads the server's notation, two hexadecimal numbers of one to eight
// digits with a slash between them. Leading zeros and lower case are allowed,
// as in pg_lsn.c:pg_lsn_in_internal; signs, blanks and 0x are not.
func ParseLSN(s string) (LSN, error) {
	high, low, ok := strings.Cut(s, "/")
	h, okHigh := parseHex(high)
	l, okLow := parseHex(low)
	if !ok || !okHigh || !okLow {
		return 0, fmt.Errorf("%.40q: not an LSN such as 16/B374D848", s)
	}
	return LSN(h)<<32 | LSN(l), nil
}

// String is the server's own notation, without leading zeros.
func (l LSN) String() string {
	return fmt.Sprintf("%X/%X", uint32(l>>32), uint32(l))
}

// parseHex reads one to eight hexadecimal digits of either case.
func parseHex(s string) (uint32, bool) {
	if len(s) < 1 || len(s) > 8 {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 16, 32)
	return uint32(n), err == nil
}

// Timeline numbers one branch of a cluster's history. The first is 1; there is
// no timeline 0.
type Timeline uint32

// String is the number as it stands in file names: eight hexadecimal digits.
// Where people read it, and in backup_label, the number is decimal.
func (t Timeline) String() string {
	return fmt.Sprintf("%08X", uint32(t))
}

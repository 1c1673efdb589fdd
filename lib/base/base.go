// Package base copies a cluster out as a stream and makes a data directory of
// such a stream again.
//
// # The stream
//
// A base stream is a POSIX tar of the data directory, tablespaces included as
// pg_tblspc/<oid>/PG_…. Its last members are backup_label, tablespace_map (if
// there are tablespaces), global/pg_control and backup_manifest, PostgreSQL's
// own list of the files; after them comes the trailer of the tar. Without
// pg_control no server starts, so a stream that was cut cannot be taken for a
// cluster by whoever unpacks it with tar alone. What pg_basebackup -Ft -D -
// writes is a base stream too.
//
// # Guarantees of a restore
//
// [Restore] writes only into directories that were empty or absent, and never
// through a link out of them. Every byte is checked against a manifest, every
// file and directory is on stable storage, and only then global/pg_control
// gets its name, in one step: whatever happens, a data directory that can be
// started is complete and right. A restore that fails removes what it wrote;
// one that was killed leaves a mark by which the next one knows the remains.
//
// A backup in parts is read part by part, several at once. A part may hold what
// does not count; the manifest names for every file the one that does.
//
// A delta restore works in a data directory of the same cluster, and in the
// tablespaces that it links to. There global/pg_control goes first, before
// anything is changed, and comes back last. It becomes the mark: what a killed
// delta restore left can only be gone on with, as it may be all that there is.
package base

import (
	"errors"
	"fmt"
	"iter"

	"pgpipes/lib/manifest"
)

var (
	// ErrStream is in the chain of errors due to a stream that is cut, damaged
	// or hostile, or no base stream at all.
	ErrStream = errors.New("base: bad stream")
	// ErrDiffers is in the chain of the error for a stream, whole as such,
	// that is not what its manifest says.
	ErrDiffers = errors.New("base: not what the manifest says")
	// ErrTarget is in the chain of errors due to the place to restore to, for
	// which another one has to be given.
	ErrTarget = errors.New("base: unfit target")
)

// fault is an error that belongs to one of the above without repeating it.
type fault struct {
	kind error
	text string
	hint string // what can be done about it, if that is known
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.kind }
func (f *fault) Hint() string  { return f.hint }

func (f *fault) advise(hint string) error {
	f.hint = hint
	return f
}

func badStream(format string, args ...any) *fault {
	return &fault{kind: ErrStream, text: fmt.Sprintf(format, args...)}
}

func badTarget(format string, args ...any) *fault {
	return &fault{kind: ErrTarget, text: fmt.Sprintf(format, args...)}
}

// tally counts differences and keeps the first.
type tally struct {
	first manifest.Difference
	count int
	tell  func(format string, args ...any)
}

func (t *tally) add(d manifest.Difference) {
	if t.count++; t.count == 1 {
		t.first = d
	}
	if t.tell != nil {
		t.tell("%s", d)
	}
}

// gather adds all of a comparison. It is an error if anything differs.
func (t *tally) gather(differences iter.Seq2[manifest.Difference, error]) error {
	for d, err := range differences {
		if err != nil {
			return err
		}
		t.add(d)
	}
	switch t.count {
	case 0:
		return nil
	case 1:
		return &fault{kind: ErrDiffers, text: t.first.String()}
	}
	return &fault{kind: ErrDiffers, text: fmt.Sprintf("%s; %d differences in all", t.first, t.count)}
}

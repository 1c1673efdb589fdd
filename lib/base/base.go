// Package base copies a cluster out as a base stream and makes a data directory of
// such a stream again.
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

	"pgpipes/lib/stream"
)

// ErrTarget is in the chain of errors due to the place to restore to, for which
// another one has to be given.
var ErrTarget = errors.New("base: unfit target")

func badTarget(format string, args ...any) *stream.Fault {
	return stream.NewFault(ErrTarget, format, args...)
}

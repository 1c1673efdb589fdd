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

import "errors"

var (
	// ErrTarget is in the chain of errors due to the place to restore to, for
	// which another one has to be given.
	ErrTarget = errors.New("base: unfit target")
)

func badTarget(format string, args ...any) *fault { return faultOf(ErrTarget, format, args...) }

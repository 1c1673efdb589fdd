// Package layout is where things are in a repository: what its objects are
// called.
//
//	pgpipes                                              identity, see archive.Identity
//	wal/0000000100000000/000000010000000000000003.zst    first 16 digits / name and codec
//	wal/0000000100000000/000000010000000000000003.00000028.backup
//	wal/history/00000002.history
//	base/20261122T101500Z/start                          a backup was begun, see archive.Start
//	base/20261122T101500Z/000.tar.zst
//	base/20261122T101500Z/manifest                       written last: the backup exists
//	base/20261122T101500Z/keep                           a pin, the reason in it
//	gap/FIRST-LAST                                       segments that were dropped, see archive.Gap
//	hole/FIRST-LAST                                      segments known to be missing, see archive.Accepted
//	verify/20261122T101500Z                              what came of a verification, see archive.Record
//	drill/20261122T101500Z                               what came of a restore that was tried
//	restore/TIME-HOST-PID                                a restore is under way, see archive.Restoring
//	lock/NAME                                            or lease/NAME/NUMBER, see repo lock
//
// doc/repository.md has it to the byte.
package layout

import (
	"path"

	"pgpipes/lib/codec"
	"pgpipes/lib/wal"
)

// Identity is the object that says what repository it is, and of what cluster.
const Identity = "pgpipes"

// What the keys of the other objects begin with.
const (
	WAL     = "wal/"
	History = "wal/history/" // among those of WAL
	Base    = "base/"
	Gap     = "gap/"
	Hole    = "hole/"
	Restore = "restore/"
)

// The objects of a backup that are not parts of it.
const (
	Manifest = "manifest"
	Start    = "start"
	Pin      = "keep"
)

// WALKey is where a WAL file is kept, without the suffix of a codec.
func WALKey(n wal.Name) string {
	if n.Kind == wal.TimelineHistory {
		return History + n.String()
	}
	return WAL + n.Base()[:16] + "/" + n.String()
}

// ParseWALKey is the inverse of WALKey for any codec. Keys that are no WAL
// file's are not ok.
func ParseWALKey(key string) (n wal.Name, f codec.Format, ok bool) {
	plain, f := codec.SplitName(key)
	n, err := wal.ParseName(path.Base(plain))
	return n, f, err == nil && WALKey(n) == plain
}

// Timeline begins the keys of all files of a timeline but its history.
func Timeline(tli wal.Timeline) string { return WAL + tli.String() }

// AfterSegment is a key after all files of a segment and before those of the
// next.
func AfterSegment(base string) string { return WAL + base[:16] + "/" + base + "~" }

// BaseKey is where something of a backup is kept: Manifest, Start, Pin or a part.
func BaseKey(label, name string) string { return Base + label + "/" + name }

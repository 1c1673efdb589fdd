package pgdata

import (
	"strconv"
	"strings"
)

// Paths in a data directory.
const (
	// TablespaceDir has a link to every tablespace outside, called by its OID.
	TablespaceDir = "pg_tblspc"
	// WALDir is where a server has its WAL.
	WALDir = "pg_wal"
	// ManifestFile is PostgreSQL's own list of the files of a backup.
	ManifestFile = "backup_manifest"
)

// SplitTablespace divides pg_tblspc/<oid>/inner. For the directory of the
// tablespace itself inner is ".".
func SplitTablespace(name string) (oid uint32, inner string, ok bool) {
	rest, ok := strings.CutPrefix(name, TablespaceDir+"/")
	if !ok {
		return 0, "", false
	}
	number, inner, below := strings.Cut(rest, "/")
	if !below {
		inner = "."
	}
	n, err := strconv.ParseUint(number, 10, 32)
	return uint32(n), inner, err == nil && strconv.FormatUint(n, 10) == number && n > 0
}

// IsWAL holds for what lies in pg_wal.
func IsWAL(name string) bool { return strings.HasPrefix(name, WALDir+"/") }

// Unlisted holds for what PostgreSQL does not count among the files of a
// backup: WAL, and files that are changed after it (pg_verifybackup.c:main).
func Unlisted(name string) bool {
	switch name {
	case "postgresql.auto.conf", "recovery.signal", "standby.signal", ManifestFile:
		return true
	}
	return IsWAL(name)
}

package pgdata

import (
	"path"
	"strings"
)

// Action says what a copy of a cluster does with a file or directory.
type Action int

// The actions.
const (
	Copy     Action = iota // take it; of a directory, ask again for everything in it
	Skip                   // leave it out, and all that is in it
	EmptyDir               // take the directory, but nothing that is in it
)

// emptied are the directories at the top of a data directory whose content is of
// the running server only. It must find the directories when it starts, and
// fills them itself (basebackup.c: excludeDirContents). Old replication slots
// would hold back WAL and VACUUM in the copy for ever.
var emptied = map[string]bool{
	"pg_dynshmem":  true,
	"pg_notify":    true,
	"pg_replslot":  true,
	"pg_serial":    true,
	"pg_snapshots": true,
	"pg_stat_tmp":  true,
	"pg_subtrans":  true,
}

// skipped are the files at the top of a data directory that belong to the running
// server or to another backup (basebackup.c: excludeFiles). A copy gets its own
// backup_label, tablespace_map and backup_manifest; the .old ones are what a
// finished recovery made of those it began from.
var skipped = map[string]bool{
	"postmaster.pid":           true,
	"postmaster.opts":          true,
	"postgresql.auto.conf.tmp": true,
	"current_logfiles.tmp":     true,
	"backup_label":             true,
	"backup_label.old":         true,
	"tablespace_map":           true,
	"tablespace_map.old":       true,
	ManifestFile:               true,
}

// Classify says what a copy does with a path. isDir tells whether it is a
// directory, or a link to one: pg_wal and the directories that are kept empty may
// be links, and are directories in the copy.
//
// The rules are those of the server's own base backup (basebackup.c:sendDir),
// except that names count only where they have their meaning. The server drops
// everything below any directory called pg_notify or pgsql_tmp, wherever it is;
// a directory of the user's with such a name is copied here. What no rule speaks
// of is copied.
//
// Not known from a path alone: which relations are unlogged ([FindUnlogged]), and
// which directory of a tablespace is this cluster's ([TablespaceVersionDir]).
func Classify(name string, isDir bool) Action {
	for i := range len(name) {
		if name[i] == '/' && classifyItself(name[:i], true) != Copy {
			return Skip
		}
	}
	return classifyItself(name, isDir)
}

// classifyItself classifies a path all of whose parents are copied.
func classifyItself(name string, isDir bool) Action {
	parent, base := path.Dir(name), path.Base(name)
	switch {
	case base == ".DS_Store":
		return Skip
	case parent == ".":
		return classifyTop(base, isDir)
	case parent == WALDir:
		return classifyWAL(base, isDir)
	case tablespaceOID(parent):
		return onlyIf(strings.HasPrefix(base, "PG_"))
	case underData(parent) && strings.HasPrefix(base, "pgsql_tmp"):
		return Skip
	case RelationDir(parent):
		return onlyIf(!strings.HasPrefix(base, "pg_internal.init") &&
			(parent == "global" || !IsTemporaryRelation(base)))
	}
	return Copy
}

func onlyIf(copied bool) Action {
	if copied {
		return Copy
	}
	return Skip
}

func classifyTop(base string, isDir bool) Action {
	switch {
	case skipped[base]:
		return Skip
	case emptied[base] && isDir:
		return EmptyDir
	}
	return Copy
}

// classifyWAL keeps the directories in pg_wal, empty. WAL comes from the archive;
// old segments found here would be replayed in place of missing ones.
func classifyWAL(base string, isDir bool) Action {
	if isDir && (base == "archive_status" || base == "summaries") {
		return EmptyDir
	}
	return Skip
}

// RelationDir says whether a directory is one where files of relations lie:
// global, base/<oid>, and pg_tblspc/<oid>/PG_<release>/<oid>.
func RelationDir(dir string) bool {
	if dir == "global" {
		return true
	}
	parent, database := path.Split(dir)
	return isDigits(database) && (parent == "base/" || tablespaceVersion(strings.TrimSuffix(parent, "/")))
}

// underData says whether dir is base, global, a tablespace's directory of a
// release, or below one of them. Temporary files lie there and nowhere else.
func underData(dir string) bool {
	for ; dir != "." && dir != "/"; dir = path.Dir(dir) {
		if dir == "base" || dir == "global" || tablespaceVersion(dir) {
			return true
		}
	}
	return false
}

// ownDirs are the directories at the top of a data directory, besides those of
// relations, in which only the server puts anything, and all of which it needs.
var ownDirs = map[string]bool{"pg_commit_ts": true, "pg_logical": true, "pg_multixact": true, "pg_twophase": true, "pg_xact": true}

// Essential says whether what is below the top of a data directory lies where only
// the server puts anything: a copy without it lacks databases, tables, or what
// became of transactions. It is for paths that are copied.
func Essential(name string) bool {
	top, _, below := strings.Cut(name, "/")
	return tablespaceVersion(name) || underData(path.Dir(name)) || below && ownDirs[top]
}

// tablespaceOID says whether dir is pg_tblspc/<oid>.
func tablespaceOID(dir string) bool {
	oid, ok := strings.CutPrefix(dir, TablespaceDir+"/")
	return ok && isDigits(oid)
}

// tablespaceVersion says whether dir is pg_tblspc/<oid>/PG_<release>.
func tablespaceVersion(dir string) bool {
	parent, base := path.Split(dir)
	return strings.HasPrefix(base, "PG_") && tablespaceOID(strings.TrimSuffix(parent, "/"))
}

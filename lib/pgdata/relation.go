package pgdata

import (
	"math"
	"path"
	"strconv"
	"strings"
)

// Relation is what the name of a table's or an index's file says.
type Relation struct {
	Number  uint32 // the relation's file number, in no relation to its OID
	Fork    string // "" for the main fork, "fsm", "vm" or "init"
	Segment uint32 // which part of a fork larger than a segment, from 0
}

// ParseRelation reads a file name such as 16384, 16384.1, 16384_vm or
// 16384_fsm.1, without a directory (reinit.c:
// parse_filename_for_nontemp_relation). It is false for all other names. The name
// means something only in the directories that [RelationDir] knows.
func ParseRelation(name string) (Relation, bool) {
	stem, segment, hasSegment := strings.Cut(name, ".")
	number, fork, hasFork := strings.Cut(stem, "_")
	if hasFork && !isFork(fork) {
		return Relation{}, false
	}
	r := Relation{Fork: fork}
	var ok bool
	if r.Number, ok = positive(number); !ok {
		return Relation{}, false
	}
	if hasSegment {
		r.Segment, ok = positive(segment)
	}
	return r, ok
}

// isFork says whether a fork's files carry this word; those of the main fork
// carry none.
func isFork(s string) bool {
	return s == "fsm" || s == "vm" || s == "init"
}

// positive reads a decimal number from 1 up, without leading zeros.
func positive(s string) (uint32, bool) {
	if !isDigits(s) || s[0] == '0' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil
}

// isDigits says whether s is one or more decimal digits.
func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// IsTemporaryRelation says whether a file name is that of a temporary table:
// t, the number of its session, _ and the name of a relation's file, such as
// t3_16384 or t3_16384_fsm.1 (fd.c:looks_like_temp_rel_name). Such files do not
// outlive their session and have no place in a copy.
func IsTemporaryRelation(name string) bool {
	rest, ok := strings.CutPrefix(name, "t")
	if !ok {
		return false
	}
	session, file, _ := strings.Cut(rest, "_")
	stem, segment, hasSegment := strings.Cut(file, ".")
	number, fork, hasFork := strings.Cut(stem, "_")
	return isDigits(session) && isDigits(number) &&
		(!hasFork || isFork(fork)) && (!hasSegment || isDigits(segment))
}

// Unlogged is the set of unlogged relations of one directory.
type Unlogged map[uint32]struct{}

// FindUnlogged finds the unlogged relations among the names in one directory that
// [RelationDir] knows: those that have an init fork. The set grows with the
// number of unlogged relations only. The names must come from one listing.
func FindUnlogged(names []string) Unlogged {
	u := Unlogged{}
	for _, name := range names {
		if r, ok := ParseRelation(name); ok && r.Fork == "init" {
			u[r.Number] = struct{}{}
		}
	}
	return u
}

// Drops says whether a file is to be left out of a copy because its relation is
// unlogged: all files but the init fork, from which the server makes the relation
// anew, empty, when it starts from the copy (reinit.c:ResetUnloggedRelations).
func (u Unlogged) Drops(name string) bool {
	r, ok := ParseRelation(name)
	if !ok || r.Fork == "init" {
		return false
	}
	_, unlogged := u[r.Number]
	return unlogged
}

// ParseRelationPath reads the path of a relation's file relative to the data
// directory, and the OID of the database that it belongs to, 0 for all. It is
// false for all other paths.
func ParseRelationPath(name string) (database uint32, r Relation, ok bool) {
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	if r, ok = ParseRelation(base); !ok || !RelationDir(dir) {
		return 0, Relation{}, false
	}
	if dir != "global" {
		database, ok = positive(path.Base(dir))
	}
	return database, r, ok
}

// FirstBlock says which block of its relation a file of the cluster begins with,
// if it is one of a relation and its pages have checksums.
func (c Control) FirstBlock(name string) (first uint32, checked bool) {
	if !c.Checksums || !RelationDir(path.Dir(name)) {
		return 0, false
	}
	r, ok := ParseRelation(path.Base(name))
	at := uint64(r.Segment) * uint64(c.RelationSegmentBlocks)
	return uint32(at), ok && at <= math.MaxUint32
}

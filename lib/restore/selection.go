package restore

import (
	"path"
	"strconv"
	"strings"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
)

// firstUserOID is the first one that databases can have which initdb has not
// made (transam.h:FirstNormalObjectId).
const firstUserOID = 16384

// ownNames are those of the databases that initdb makes, which may have been made
// again since. Without template1 no other can be made.
var ownNames = []string{"template0", "template1", "postgres"}

// A selection is the databases that are to be restored. What initdb has made,
// the templates among them, always is.
type selection struct {
	chosen map[uint32]bool // nil is all
	own    map[uint32]bool // have one of ownNames, if the backup tells
	found  map[uint32]bool // those of them that the backup has
}

// newSelection understands OIDs, and names where the backup tells them.
func newSelection(h manifest.Header, asked []string) (*selection, error) {
	s := &selection{own: map[uint32]bool{}, found: map[uint32]bool{}}
	for _, name := range ownNames {
		s.own[h.DatabaseNamed(name)] = true
	}
	for _, text := range asked {
		oid, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			if oid = uint64(h.DatabaseNamed(text)); oid == 0 {
				return nil, badTarget("%s: the backup knows no database of that name", manifest.Escape(text)).Advise("give its OID, as the directories in base have it")
			}
		}
		if s.chosen == nil {
			s.chosen = map[uint32]bool{}
		}
		s.chosen[uint32(oid)] = true
	}
	return s, nil
}

// excludes holds for the files of databases that are not wanted. PG_VERSION is
// not one of them: with it the directory is that of a database, with which the
// server can do nothing but drop it.
func (s *selection) excludes(name string) bool {
	if s.chosen == nil {
		return false
	}
	oid, ok := databaseOf(name)
	if ok && s.chosen[oid] {
		s.found[oid] = true
	}
	return ok && oid >= firstUserOID && !s.own[oid] && !s.chosen[oid] && path.Base(name) != "PG_VERSION"
}

// check fails if the backup does not have what was asked for.
func (s *selection) check() error {
	for oid := range s.chosen {
		if !s.found[oid] {
			return badTarget("the backup has no database %d", oid)
		}
	}
	return nil
}

// databaseOf is the OID of the database that something in base/<oid>/ or
// pg_tblspc/<oid>/PG_…/<oid>/ is of.
func databaseOf(name string) (uint32, bool) {
	rest, ok := strings.CutPrefix(name, "base/")
	if !ok {
		_, inner, inTablespace := pgdata.SplitTablespace(name)
		if _, rest, ok = strings.Cut(inner, "/"); !inTablespace || !ok {
			return 0, false
		}
	}
	number, _, below := strings.Cut(rest, "/")
	oid, err := strconv.ParseUint(number, 10, 32)
	if !below || err != nil {
		return 0, false
	}
	return uint32(oid), true
}

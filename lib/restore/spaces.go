package restore

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
)

// chooseSpaces says where the tablespaces go: all to places that were given,
// or, if none was, back to where they were. In a data directory that is there
// already, own are its links, which stand for what was not given.
func (o *Options) chooseSpaces(known []manifest.Tablespace, own map[uint32]string) (map[uint32]string, error) {
	if o.Manifest == nil {
		if len(o.Moved) > 0 || o.TablespaceRoot != "" {
			return nil, badTarget("only a manifest says which tablespaces there are, and where they were")
		}
		return o.Tablespaces, nil
	}
	chosen := map[uint32]string{}
	var missing []uint32
	for _, s := range known {
		if s.Path == linkName(s.OID) { // in place: a part of the data directory
			continue
		}
		place := o.placeOf(s, own[s.OID])
		if chosen[s.OID] = place; place == "" {
			missing = append(missing, s.OID)
		}
	}
	if err := o.checkGiven(known, chosen); err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		return nil, needPlaces(missing)
	}
	return chosen, nil
}

// placeOf is the place of one tablespace, "" if it has none although others
// were given one.
func (o *Options) placeOf(s manifest.Tablespace, own string) string {
	given, ok := o.Tablespaces[s.OID]
	if !ok {
		given, ok = o.Moved[filepath.Clean(s.Path)]
	}
	switch {
	case ok:
		return given
	case o.TablespaceRoot != "":
		return filepath.Join(o.TablespaceRoot, strconv.FormatUint(uint64(s.OID), 10))
	case own != "":
		return own
	case len(o.Tablespaces)+len(o.Moved) > 0:
		return ""
	}
	return s.Path
}

// checkGiven refuses places for tablespaces that the backup does not have.
func (o *Options) checkGiven(known []manifest.Tablespace, chosen map[uint32]string) error {
	for oid := range o.Tablespaces {
		if _, ok := chosen[oid]; !ok {
			return badTarget("the backup has no tablespace %d", oid)
		}
	}
	for was := range o.Moved {
		if !slices.ContainsFunc(known, func(s manifest.Tablespace) bool { return filepath.Clean(s.Path) == was }) {
			return badTarget("the backup has no tablespace that was at %s", manifest.Escape(was))
		}
	}
	return nil
}

// needPlaces asks for the places of tablespaces.
func needPlaces(oids []uint32) error {
	slices.Sort(oids)
	list := strings.Trim(fmt.Sprint(oids), "[]")
	err := badTarget("tablespaces without a place to go: %s", list)
	return err.Advise(fmt.Sprintf("give --tablespace %d=DIR, and so for every tablespace of the backup", oids[0]))
}

// ownSpaces are the tablespaces that a data directory links to, by OID.
func ownSpaces(data string) map[uint32]string {
	own := map[uint32]string{}
	list, _ := os.ReadDir(filepath.Join(data, pgdata.TablespaceDir)) // if there is none, there are none
	for _, e := range list {
		oid, err := strconv.ParseUint(e.Name(), 10, 32)
		if err != nil {
			continue
		}
		at, err := os.Readlink(filepath.Join(data, pgdata.TablespaceDir, e.Name()))
		if err == nil && filepath.IsAbs(at) {
			own[uint32(oid)] = filepath.Clean(at)
		}
	}
	return own
}

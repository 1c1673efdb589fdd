package server

import (
	"context"
	"strings"
)

// InPlaceTablespaces are the names of the tablespaces that are directories in
// pg_tblspc itself, as allow_in_place_tablespaces makes them for tests.
func (s *Session) InPlaceTablespaces(ctx context.Context) ([]string, error) {
	row, err := s.ask(ctx, "tablespaces", `
		SELECT pg_catalog.string_agg(spcname, pg_catalog.chr(10) ORDER BY spcname) FROM pg_catalog.pg_tablespace
		 WHERE pg_catalog.pg_tablespace_location(oid) = pg_catalog.concat('pg_tblspc/', oid)`)
	if err != nil || row[0] == nil {
		return nil, err
	}
	return strings.Split(string(row[0]), "\n"), nil
}

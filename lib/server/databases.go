package server

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// A Database is one of the server's.
type Database struct {
	OID  uint32
	Name string
}

// Databases lists the databases in the order of their OIDs.
func (s *Session) Databases(ctx context.Context) ([]Database, error) {
	const call = "pg_database"
	row, err := s.ask(ctx, call, `SELECT pg_catalog.string_agg(oid::pg_catalog.text OPERATOR(pg_catalog.||) ' '
		OPERATOR(pg_catalog.||) pg_catalog.encode(pg_catalog.textsend(datname::pg_catalog.text), 'hex'), ' ' ORDER BY oid)
		FROM pg_catalog.pg_database`)
	if err != nil {
		return nil, err
	}
	words := strings.Fields(string(row[0]))
	var list []Database
	for i := 0; i+1 < len(words); i += 2 {
		oid, err := strconv.ParseUint(words[i], 10, 32)
		name, bad := hex.DecodeString(words[i+1])
		if err != nil || bad != nil {
			return nil, fmt.Errorf("%s: %q", call, row[0])
		}
		list = append(list, Database{uint32(oid), string(name)})
	}
	return list, nil
}

package server

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	applicationName = "pgpipes"
	defaultDatabase = "postgres"
	connectTimeout  = 30 * time.Second
)

// ErrConninfo is in the chain of the error of settings that no server can be
// reached with, in the connection string, the environment or their files.
var ErrConninfo = errors.New("the connection settings are wrong")

// parseConfig is what conninfo and libpq's environment together ask for, with
// our defaults where neither says anything.
func parseConfig(conninfo, database string) (*pgconn.Config, error) {
	config, err := pgconn.ParseConfig(conninfo)
	if err == nil && config.Database == "" {
		// Asked again rather than patched, because the password file is
		// searched by database too.
		config, err = pgconn.ParseConfig(withDatabase(conninfo, database))
	}
	if err != nil {
		return nil, fmt.Errorf("connect: %w: %s", ErrConninfo, oneLine(err.Error()))
	}
	if config.Database == "" { // dbname= without a name
		config.Database = database
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = applicationName
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	config.DialFunc = dial(config.ConnectTimeout)
	return config, nil
}

// withDatabase is conninfo, which names no database, with one. Of keywords it
// comes first: after "key=" it would be taken for the value.
func withDatabase(conninfo, database string) string {
	switch {
	case !strings.HasPrefix(conninfo, "postgres://") && !strings.HasPrefix(conninfo, "postgresql://"):
		return "dbname=" + database + " " + conninfo
	case strings.Contains(conninfo, "?"):
		return conninfo + "&dbname=" + database
	default:
		return conninfo + "?dbname=" + database
	}
}

package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// SQLSTATEs (PostgreSQL, appendix "Error Codes") that people can do something about.
const (
	statePrivilege    = "42501" // insufficient_privilege
	statePrerequisite = "55000" // object_not_in_prerequisite_state
	statePassword     = "28P01" // invalid_password
	stateAuth         = "28000" // invalid_authorization_specification, no pg_hba.conf line among others
	stateNoDatabase   = "3D000" // invalid_catalog_name
	stateStarting     = "57P03" // cannot_connect_now
	stateTooMany      = "53300" // too_many_connections
)

// Error is a question the server did not answer as hoped.
type Error struct {
	Call string // what was asked, such as pg_backup_start
	Err  error  // the reason, as the driver or the server gave it
	hint string
}

// Error is one line: the call and the server's words.
func (e *Error) Error() string { return e.Call + ": " + describe(e.Err) }

func (e *Error) Unwrap() error { return e.Err }

// Hint is what the user can do about it, or "".
func (e *Error) Hint() string { return e.hint }

// fail makes the error of a call, with a hint where there is one.
func (s *Session) fail(call string, err error) error { return s.target.fail(call, err) }

func (t target) fail(call string, err error) error {
	return &Error{Call: call, Err: err, hint: hint(call, err, t)}
}

// describe is an error in one line, without the repetitions that the driver
// makes when it tried several addresses or TLS modes.
func describe(err error) string {
	if pg := new(pgconn.PgError); errors.As(err, &pg) {
		text := pg.Message
		if pg.Detail != "" {
			text += ": " + pg.Detail
		}
		return fmt.Sprintf("%s (SQLSTATE %s)", oneLine(text), pg.Code)
	}
	if errors.Is(err, pgconn.ErrConnClosed) {
		return "the session is closed"
	}
	return oneLine(err.Error())
}

// oneLine joins the lines of a text by "; ", each but once.
func oneLine(text string) string {
	seen := make(map[string]bool)
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !seen[line] {
			seen[line] = true
			lines = append(lines, line)
		}
	}
	return strings.ReplaceAll(strings.Join(lines, "; "), ":; ", ": ")
}

// hint is advice for the likely mistakes; the server's own where it has some.
func hint(call string, err error, t target) string {
	if pg := new(pgconn.PgError); errors.As(err, &pg) {
		return serverHint(call, pg, t)
	}
	return networkHint(err)
}

func serverHint(call string, pg *pgconn.PgError, t target) string {
	switch {
	case pg.Code == statePrivilege && grants(call, t.major) != "":
		return fmt.Sprintf("as a superuser in database %s: GRANT EXECUTE ON FUNCTION %s TO %s",
			t.database, grants(call, t.major), quoteName(t.user))
	case pg.Code == statePrerequisite && t.walLevel == "minimal":
		return "wal_level is minimal: set it to replica and restart the server"
	case pg.Hint != "":
		return oneLine(pg.Hint)
	case pg.Code == statePassword, pg.Code == stateAuth && !t.replication:
		return fmt.Sprintf("check pg_hba.conf, ~/.pgpass and PGUSER (the role is %s)", t.user)
	case pg.Code == stateNoDatabase:
		return "set PGDATABASE or dbname to a database that exists"
	case pg.Code == stateStarting:
		return "the server is starting, stopping or recovering without hot_standby: try again later"
	case pg.Code == statePrivilege && t.replication:
		return fmt.Sprintf("as a superuser: ALTER ROLE %s REPLICATION", quoteName(t.user))
	case pg.Code == stateAuth && t.replication:
		return fmt.Sprintf("pg_hba.conf needs a line for database \"replication\", with a role that may be used for it (this one is %s)", t.user)
	case pg.Code == stateTooMany && t.replication:
		return "raise max_wal_senders"
	case pg.Code == stateTooMany:
		return "raise max_connections, or connect as a superuser"
	}
	return ""
}

func networkHint(err error) string {
	var op *net.OpError
	switch {
	case errors.Is(err, context.Canceled):
		return ""
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return "is the server running? set PGHOST (the directory of its socket, or a host name) and PGPORT"
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return "this user may not open the server's socket: see unix_socket_permissions"
	case errors.As(err, &op) && op.Op == "dial", pgconn.Timeout(err):
		return "check PGHOST, PGPORT and the network"
	}
	return ""
}

// grants names the functions whose EXECUTE a call needs, with the arguments by
// which GRANT knows them in this major; "" for calls that need no grant.
func grants(call string, major int) string {
	switch {
	case call != "pg_start_backup" && call != "pg_stop_backup" && call != "pg_backup_start" && call != "pg_backup_stop":
		return ""
	case major < 15:
		return "pg_start_backup(text, boolean, boolean), pg_stop_backup(boolean, boolean)"
	default:
		return "pg_backup_start(text, boolean), pg_backup_stop(boolean)"
	}
}

// quoteName makes an SQL identifier of any name.
func quoteName(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

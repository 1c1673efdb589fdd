// Package server talks to a running PostgreSQL through one SQL session.
//
// A base backup through SQL is bound to the session that began it: when that
// session ends, for whatever reason, the server calls the backup off and the
// copied files are worthless. So there is exactly one connection, it is never
// made again behind the caller's back, and its settings are chosen so that
// nothing the role or the database has configured (time-outs, search_path,
// encodings, isolation levels) can end it or change what it sees.
//
// # Versions
//
// PostgreSQL 13 to 18. The functions that begin and end a backup have other
// names and arguments before 15; callers need not know. Other majors are
// refused with ErrVersion, because what they expect of a backup is unknown.
//
// # Rights
//
// The role needs EXECUTE on the two backup functions (an error's hint spells
// out the GRANT); everything else works for any role. What a plain role may
// not see is reported as unknown, not as an error.
package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"pgpipes/lib/wait"
)

// closeTimeout bounds how long Close waits for the server to take its leave.
const closeTimeout = 5 * time.Second

// ErrVersion is wrapped by Connect's error for a server of an unknown major.
var ErrVersion = errors.New("server: unknown PostgreSQL version")

// Session is one SQL session. Its methods may be called from several
// goroutines; questions are put to the server one at a time, in no particular
// order. A call ends promptly when its context does, and with it the session,
// because an answer that may still come would be taken for the next one's.
type Session struct {
	conn     *pgconn.PgConn
	target   target
	turn     chan struct{} // holds a token while a question is under way
	life     context.Context
	end      context.CancelFunc
	info     Info
	process  string // process id of the server's side, as the server says it
	inBackup atomic.Bool
	notice   atomic.Pointer[func(severity, message string)]
}

// target is what a session is connected to, for messages and hints.
type target struct {
	user, database string
	major          int
	walLevel       string
	replication    bool
}

// Connect opens a session. conninfo is a libpq connection string or URL; ""
// leaves everything to libpq's environment (PGHOST, PGSERVICE, ~/.pgpass and
// so on, which are honoured in any case). Where libpq would take the database
// named like the role, postgres is used, because that one always exists.
//
// Without a host the directory of the server's Unix socket is
// /var/run/postgresql if that exists, otherwise /tmp. A server that no longer
// answers on a TCP connection, idle or not, is noticed within some 75 seconds.
// An attempt to connect is given up after 30 seconds unless connect_timeout says
// otherwise.
func Connect(ctx context.Context, conninfo string) (*Session, error) {
	config, err := parseConfig(conninfo, defaultDatabase)
	if err != nil {
		return nil, err
	}
	s := &Session{
		target: target{user: config.User, database: config.Database},
		turn:   make(chan struct{}, 1),
	}
	s.life, s.end = context.WithCancel(context.Background())
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { s.noticed(n) }
	done := wait.For(ctx, fmt.Sprintf("connecting to the server at %s, port %d", config.Host, config.Port))
	s.conn, err = pgconn.ConnectConfig(ctx, config)
	done()
	if err != nil {
		s.end()
		return nil, s.fail("connect", err)
	}
	if err := s.prepare(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// prepare makes a fresh connection fit for a backup and learns about the server.
func (s *Session) prepare(ctx context.Context) error {
	row, err := s.simple(ctx, "SHOW server_version_num")
	if err != nil {
		return s.fail("connect", err)
	}
	number, err := strconv.Atoi(row)
	if err != nil {
		return fmt.Errorf("connect: server_version_num is %q", row)
	}
	if s.target.major, err = majorOf(number); err != nil {
		return err
	}
	if _, err := s.simple(ctx, strings.Join(settings(s.target.major), ";")); err != nil {
		return s.fail("connect", err)
	}
	return s.learn(ctx, number)
}

// simple sends one string of statements by the simple protocol, which needs no
// snapshot for SET and SHOW and so works whatever the role's default isolation
// level is. It returns the first value of the first result.
func (s *Session) simple(ctx context.Context, statements string) (string, error) {
	defer wait.For(ctx, "the server's answer to the session's first settings")()
	results, err := s.conn.Exec(ctx, statements).ReadAll()
	if err != nil || len(results) == 0 || len(results[0].Rows) == 0 {
		return "", err
	}
	return string(results[0].Rows[0][0]), nil
}

// majorOf is the major version of a server_version_num such as 150018.
func majorOf(number int) (int, error) {
	major := number / 10000
	if major < 13 || major > 18 {
		return 0, fmt.Errorf("%w %d (server_version_num %d): 13 to 18 are supported", ErrVersion, major, number)
	}
	return major, nil
}

// settings are the statements that shield the session from what the role, the
// database or PGOPTIONS may have configured.
func settings(major int) []string {
	s := []string{
		"SET search_path = pg_catalog",
		// No conversion of label text and tablespace paths: they are stored byte for byte.
		"SET client_encoding = 'SQL_ASCII'",
		"SET standard_conforming_strings = on",
		"SET DateStyle = 'ISO'",
		"SET client_min_messages = notice",
		"SET statement_timeout = 0",
		"SET lock_timeout = 0",
		"SET idle_in_transaction_session_timeout = 0",
		// A serializable default fails on a standby; a deferrable one may wait for ever.
		"SET default_transaction_isolation = 'read committed'",
		"SET default_transaction_deferrable = off",
		"SET default_transaction_read_only = off",
	}
	if major >= 14 {
		s = append(s, "SET idle_session_timeout = 0")
	}
	if major >= 17 {
		s = append(s, "SET transaction_timeout = 0")
	}
	return s
}

// OnNotice has f called with each NOTICE or WARNING of the server, from the
// goroutine whose question provoked it; nil (the default) drops them. While
// the end of a backup waits for the archiver, they are all one hears of it.
func (s *Session) OnNotice(f func(severity, message string)) { s.notice.Store(&f) }

func (s *Session) noticed(n *pgconn.Notice) { tell(s.notice.Load(), n) }

// tell hands a notice to whoever wants to know.
func tell(f *func(severity, message string), n *pgconn.Notice) {
	if f != nil && *f != nil {
		(*f)(cmp.Or(n.SeverityUnlocalized, n.Severity), oneLine(n.Message))
	}
}

// ask puts a query that answers with exactly one row, and waits for its turn
// and for the answer. A NULL is nil. call names the question in errors.
func (s *Session) ask(ctx context.Context, call, query string, params ...string) ([][]byte, error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, s.fail(call, context.Cause(ctx))
	}
	defer func() { <-s.turn }()
	return s.askNow(ctx, call, query, params...)
}

// askNow is ask for a caller that holds the turn.
func (s *Session) askNow(ctx context.Context, call, query string, params ...string) ([][]byte, error) {
	defer wait.For(ctx, "the server's answer to "+call)()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()

	values := make([][]byte, len(params))
	for i, p := range params {
		values[i] = []byte(p)
	}
	result := s.conn.ExecParams(ctx, query, values, nil, nil, nil).Read()
	if result.Err != nil {
		return nil, s.fail(call, result.Err)
	}
	if len(result.Rows) != 1 {
		return nil, fmt.Errorf("%s: %d rows where one was expected", call, len(result.Rows))
	}
	return result.Rows[0], nil
}

// Close ends the session within a few seconds, in whatever state it is: a
// question under way is cancelled, and a backup not ended by StopBackup is
// called off by the server. It may be called more than once.
func (s *Session) Close() {
	s.end()
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	s.conn.Close(ctx)
	// After a cancelled question the connection is closed behind our back;
	// waiting for that lets the server hear of the cancellation before the
	// program ends.
	select {
	case <-s.conn.CleanupDone():
	case <-ctx.Done():
	}
}

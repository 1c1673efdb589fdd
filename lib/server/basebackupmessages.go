package server

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"pgpipes/lib/wait"
	"pgpipes/lib/wal"
)

// stateCorrupted is data_corrupted, which BASE_BACKUP uses for wrong checksums
// (basebackup.c:perform_base_backup).
const stateCorrupted = "XX001"

// begin reads the two result sets that come before the first file.
func (b *BaseBackup) begin(ctx context.Context) error {
	beginning := wait.On(ctx, "the beginning of the server's base backup")
	sets := 0
	for {
		m, err := b.receive(beginning)
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *pgproto3.RowDescription:
			sets++
		case *pgproto3.DataRow:
			if sets == 1 {
				b.Start, b.Timeline, err = parsePlace("start of the base backup", m.Values)
			} else {
				err = b.addTablespace(m.Values)
			}
			if err != nil {
				return err
			}
		case *pgproto3.CopyOutResponse:
			if b.Start == 0 || sets != 2 {
				return fmt.Errorf("%w: files come before the start is told", ErrProtocol)
			}
			return b.take(m)
		case *pgproto3.ReadyForQuery:
			return fmt.Errorf("%w: no files come", ErrProtocol)
		}
	}
}

// addTablespace takes a row of the second result set. The one without an OID is
// the data directory.
func (b *BaseBackup) addTablespace(row [][]byte) error {
	if len(row) != 3 {
		return fmt.Errorf("%w: a tablespace of %d columns", ErrProtocol, len(row))
	}
	if size, err := strconv.ParseInt(string(row[2]), 10, 64); err == nil {
		b.Size += size << 10
	}
	if row[0] == nil {
		b.framing.expect(Sent{Name: "base.tar"})
		return nil
	}
	oid, err := strconv.ParseUint(string(row[0]), 10, 32)
	if err != nil {
		return fmt.Errorf("%w: tablespace %q", ErrProtocol, row[0])
	}
	b.Tablespaces = append(b.Tablespaces, SentTablespace{uint32(oid), string(row[1])})
	b.framing.expect(Sent{Name: string(row[0]) + ".tar", OID: uint32(oid)})
	return nil
}

// step goes on until there is something to read, a file begins, or all files
// have come.
func (b *BaseBackup) step() error {
	for len(b.rest) == 0 && b.next == nil && !b.framing.complete() {
		if err := b.message(); err != nil {
			return err
		}
	}
	return b.failed
}

// message reads and understands one message.
func (b *BaseBackup) message() error {
	if b.failed != nil {
		return b.failed
	}
	m, err := b.receive(b.receiving)
	if err == nil {
		err = b.take(m)
	}
	if err != nil {
		return b.fail(err)
	}
	return nil
}

// take understands one message.
func (b *BaseBackup) take(m pgproto3.BackendMessage) (err error) {
	switch m := m.(type) {
	case *pgproto3.CopyOutResponse:
		b.next, err = b.framing.begin()
	case *pgproto3.CopyData:
		b.next, b.rest, err = b.framing.data(m.Data)
	case *pgproto3.CopyDone:
		b.rest, err = b.framing.end()
	case *pgproto3.DataRow:
		b.end = nil
		for _, column := range m.Values {
			b.end = append(b.end, append([]byte(nil), column...))
		}
	case *pgproto3.ReadyForQuery:
		if !b.framing.complete() {
			return fmt.Errorf("%w: not all files have come", ErrProtocol)
		}
		b.finish()
		b.ended = true
	}
	return err
}

// receive reads one message. What the server reports as an error is one here.
func (b *BaseBackup) receive(o *wait.Operation) (pgproto3.BackendMessage, error) {
	o.Begin()
	defer o.End()
	m, err := b.conn.conn.ReceiveMessage(context.Background()) // its deadline is set when ctx ends
	if err != nil {
		return nil, err
	}
	if e, ok := m.(*pgproto3.ErrorResponse); ok {
		return nil, pgconn.ErrorResponseToPgError(e)
	}
	return m, nil
}

// fail ends the backup.
func (b *BaseBackup) fail(err error) error {
	b.finish()
	if cause := context.Cause(b.ctx); cause != nil {
		err = cause
	}
	if pg := new(pgconn.PgError); errors.As(err, &pg) && pg.Code == stateCorrupted && b.end != nil {
		err = fmt.Errorf("%w: %w", ErrChecksums, err)
	}
	b.failed = b.conn.target.fail("BASE_BACKUP", err)
	return b.failed
}

// finish leaves the context alone from now on. A backup that failed stays busy:
// Close then cancels it.
func (b *BaseBackup) finish() {
	b.unhook()
	b.conn.busy = !b.framing.complete()
}

// parsePlace reads a row of an LSN and a timeline.
func parsePlace(what string, row [][]byte) (wal.LSN, wal.Timeline, error) {
	if len(row) != 2 {
		return 0, 0, fmt.Errorf("%w: %s: %d columns", ErrProtocol, what, len(row))
	}
	lsn, err := parseLSN(what, row[0])
	if err != nil {
		return 0, 0, err
	}
	tli, err := parseTimeline(what, row[1])
	return lsn, tli, err
}

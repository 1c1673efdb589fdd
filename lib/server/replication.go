package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"pgpipes/lib/wait"
	"pgpipes/lib/wal"
)

// replicationDatabase stands for the database in the password file, as in
// pg_hba.conf; a connection for physical replication has none.
const replicationDatabase = "replication"

// receiveBuffer is how many bytes are taken from the network at once, where the
// driver would take 8 kB.
const receiveBuffer = 256 << 10

// Replication is a connection for physical replication, by which a server sends
// its files without anybody having access to them. It takes one question at a
// time and is for one goroutine.
//
// The role needs the attribute REPLICATION (or to be superuser), pg_hba.conf a
// line for the database "replication", and the server a free one of its
// max_wal_senders.
type Replication struct {
	conn     *pgconn.PgConn
	target   target
	identity Identity
	notice   atomic.Pointer[func(severity, message string)]
	busy     bool // a base backup is under way
}

// Identity is what a server says of itself to a replication connection.
type Identity struct {
	VersionNum, Major int
	SystemID          uint64
	Timeline          wal.Timeline // that it is on now
	SegmentSize       wal.SegmentSize
	BlockSize         int
	RelationSegment   int64       // bytes of a full segment of a relation
	Checksums         bool        // pages have checksums
	DataMode          fs.FileMode // of the data directory
}

// ConnectReplication opens a connection. conninfo is as for [Connect].
func ConnectReplication(ctx context.Context, conninfo string) (*Replication, error) {
	config, err := parseConfig(conninfo, replicationDatabase)
	if err != nil {
		return nil, err
	}
	config.RuntimeParams["replication"] = "true"
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		return pgproto3.NewFrontend(bufio.NewReaderSize(r, receiveBuffer), w)
	}
	r := &Replication{target: target{user: config.User, database: replicationDatabase, replication: true}}
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { tell(r.notice.Load(), n) }
	done := wait.For(ctx, fmt.Sprintf("connecting to the server at %s, port %d", config.Host, config.Port))
	r.conn, err = pgconn.ConnectConfig(ctx, config)
	done()
	if err != nil {
		return nil, r.target.fail("connect for replication", err)
	}
	if err := r.identify(ctx); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Identity is what was learnt when the connection was opened.
func (r *Replication) Identity() Identity { return r.identity }

// OnNotice has f called with each NOTICE or WARNING of the server; nil (the
// default) drops them.
func (r *Replication) OnNotice(f func(severity, message string)) { r.notice.Store(&f) }

// identify learns who the server is. SHOW is a command of the replication
// protocol too (repl_gram.y).
func (r *Replication) identify(ctx context.Context) (err error) {
	show := func(name string) (value string) {
		if err == nil {
			var row [][]byte
			if row, err = r.ask(ctx, "SHOW "+name, 1); err == nil {
				value = string(row[0])
			}
		}
		return value
	}
	number := func(name string, base int) int {
		text := show(name)
		n, nerr := strconv.ParseInt(text, base, 64)
		if err == nil && nerr != nil {
			err = fmt.Errorf("%s is %q", name, text)
		}
		return int(n)
	}
	size := func(name string) (n int64) {
		text := show(name)
		if err == nil {
			n, err = parseSize(name, text)
		}
		return n
	}
	i := &r.identity
	i.VersionNum = number("server_version_num", 10)
	i.SegmentSize = wal.SegmentSize(size("wal_segment_size"))
	i.BlockSize = number("block_size", 10)
	i.RelationSegment = size("segment_size")
	i.Checksums = show("data_checksums") == "on"
	i.DataMode = fs.FileMode(number("data_directory_mode", 8))
	if err != nil {
		return err
	}
	if i.Major, err = majorOf(i.VersionNum); err != nil {
		return err
	}
	r.target.major = i.Major
	return r.identifySystem(ctx)
}

// identifySystem asks for the system identifier and the timeline, which on a
// standby is that of the replay (walsender.c:IdentifySystem).
func (r *Replication) identifySystem(ctx context.Context) error {
	row, err := r.ask(ctx, "IDENTIFY_SYSTEM", 4)
	if err != nil {
		return err
	}
	if r.identity.SystemID, err = strconv.ParseUint(string(row[0]), 10, 64); err != nil {
		return fmt.Errorf("IDENTIFY_SYSTEM: system identifier %q", row[0])
	}
	r.identity.Timeline, err = parseTimeline("IDENTIFY_SYSTEM", row[1])
	return err
}

// History is the history file of a timeline, byte for byte. Timeline 1 has none.
func (r *Replication) History(ctx context.Context, tli wal.Timeline) ([]byte, error) {
	row, err := r.ask(ctx, fmt.Sprintf("TIMELINE_HISTORY %d", uint32(tli)), 2)
	if err != nil {
		return nil, err
	}
	return row[1], nil
}

// ask puts a command that answers with one row of so many columns.
func (r *Replication) ask(ctx context.Context, command string, columns int) ([][]byte, error) {
	defer wait.For(ctx, "the server's answer to "+command)()
	results, err := r.conn.Exec(ctx, command).ReadAll()
	if err != nil {
		return nil, r.target.fail(command, err)
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != columns {
		return nil, fmt.Errorf("%s: not the answer that was expected", command)
	}
	return results[0].Rows[0], nil
}

// Close ends the connection within a few seconds, in whatever state it is. A
// base backup under way is cancelled, which the server notices even while it
// waits for a checkpoint.
func (r *Replication) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if r.busy && !r.conn.IsClosed() {
		_ = r.conn.CancelRequest(ctx) // what cannot be cancelled ends with its connection
	}
	_ = r.conn.Conn().SetDeadline(time.Time{})
	_ = r.conn.Close(ctx)
	select {
	case <-r.conn.CleanupDone():
	case <-ctx.Done():
	}
}

// units are those in which SHOW gives sizes (guc.c:convert_int_from_base_unit).
var units = map[string]int64{"": 1, "B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}

// parseSize understands a size as SHOW gives it, such as 16MB.
func parseSize(name, text string) (int64, error) {
	digits := 0
	for digits < len(text) && text[digits] >= '0' && text[digits] <= '9' {
		digits++
	}
	n, err := strconv.ParseInt(text[:digits], 10, 32)
	unit, known := units[text[digits:]]
	if err != nil || !known || n <= 0 {
		return 0, fmt.Errorf("%s is %q", name, text)
	}
	return n * unit, nil
}

func parseTimeline(call string, text []byte) (wal.Timeline, error) {
	n, err := strconv.ParseUint(string(text), 10, 32)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%s: timeline %q", call, text)
	}
	return wal.Timeline(n), nil
}

package server

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"pgpipes/lib/wait"
	"pgpipes/lib/wal"
)

var (
	// ErrChecksums is in the chain of the error with which a server ends a base
	// backup in which it found pages with wrong checksums. All has been sent by
	// then.
	ErrChecksums = errors.New("server: pages with wrong checksums")
	// ErrProtocol is in the chain of errors due to a server that does not keep
	// to the protocol.
	ErrProtocol = errors.New("server: not the replication protocol")
)

// BaseBackup is a backup that a server sends: one tar for each tablespace, one
// for the data directory, and then its manifest.
//
//	b, err := r.BaseBackup(ctx, options)
//	for {
//		s, err := b.Next()
//		if err == io.EOF { break }
//		… read s.Name from b
//	}
//	end, err := b.End()
//
// It is a backup only if End returns without an error.
type BaseBackup struct {
	Start       wal.LSN // from where a restore replays
	Timeline    wal.Timeline
	Tablespaces []SentTablespace
	Size        int64 // bytes of all, as the server guesses; 0 if it was not asked to

	conn      *Replication
	ctx       context.Context
	receiving *wait.Operation
	unhook    func() bool
	framing   framing
	rest      []byte   // of a piece that has come
	next      *Sent    // has begun, and Next has not told of it yet
	end       [][]byte // the row that came last
	ended     bool
	failed    error
}

// SentTablespace is a tablespace outside the data directory. The path is that in
// the server; one in the data directory (since 16) has a relative path.
type SentTablespace struct {
	OID  uint32
	Path string
}

// Sent is one of the files that a base backup consists of.
type Sent struct {
	// Name is base.tar for the data directory and OID.tar for a tablespace, with
	// the suffix of the compression, and backup_manifest for the manifest.
	Name string
	OID  uint32 // of the tablespace, 0 otherwise
}

// SentManifest is the name under which the manifest comes.
const SentManifest = "backup_manifest"

// BackupEnd is the place in the WAL that a restore must reach: the first byte
// that is not needed.
type BackupEnd struct {
	LSN      wal.LSN
	Timeline wal.Timeline
}

// BaseBackup has the server begin a backup, and returns when it sends. That
// takes as long as its checkpoint does: a patient operation. The end of ctx is
// the end of the backup.
func (r *Replication) BaseBackup(ctx context.Context, o BaseBackupOptions) (*BaseBackup, error) {
	command, err := o.command(r.identity.Major)
	if err != nil {
		return nil, err
	}
	b := &BaseBackup{conn: r, ctx: ctx, receiving: wait.On(ctx, "the server's base backup"), framing: newFraming(r.identity.Major)}
	b.unhook = context.AfterFunc(ctx, func() { _ = r.conn.Conn().SetDeadline(time.Unix(1, 0)) })
	r.busy = true
	r.conn.Frontend().SendQuery(&pgproto3.Query{String: command})
	if err := r.conn.Frontend().Flush(); err != nil {
		return nil, b.fail(err)
	}
	if err := b.begin(wait.WithWatch(ctx, nil)); err != nil {
		return nil, b.fail(err)
	}
	return b, nil
}

// Next goes to the next file, past what has not been read of this one. After the
// last one it returns io.EOF.
func (b *BaseBackup) Next() (Sent, error) {
	for b.next == nil && !b.framing.complete() {
		b.rest = nil
		if err := b.step(); err != nil {
			return Sent{}, err
		}
	}
	if b.next == nil {
		return Sent{}, io.EOF
	}
	s := *b.next
	b.next = nil
	return s, nil
}

// Read reads from the file that Next has returned. Every tar has its trailer.
func (b *BaseBackup) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		if b.next != nil || b.framing.complete() {
			return 0, io.EOF
		}
		if err := b.step(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// End reads what is left and says where the backup ends. With an error in the
// chain of [ErrChecksums] the place is right too: it is up to the caller what
// the pages are to mean.
func (b *BaseBackup) End() (BackupEnd, error) {
	for b.failed == nil && !b.ended {
		if _, err := b.Next(); err == io.EOF {
			_ = b.message() // it is kept
		}
	}
	var end BackupEnd
	if b.failed != nil && !errors.Is(b.failed, ErrChecksums) {
		return end, b.failed
	}
	var err error
	if end.LSN, end.Timeline, err = parsePlace("end of the base backup", b.end); err != nil {
		return end, err
	}
	return end, b.failed
}

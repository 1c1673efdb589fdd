package server

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"pgpipes/lib/wait"
	"pgpipes/lib/wal"
)

var (
	// ErrInProgress: this session has begun a backup already; a server allows
	// one a session.
	ErrInProgress = errors.New("server: a backup is already in progress in this session")
	// ErrNoBackup: there is no backup in this session to end.
	ErrNoBackup = errors.New("server: no backup is in progress in this session")
	// ErrPromoted: the server left recovery during the session, which makes a
	// backup begun as a standby's useless.
	ErrPromoted = errors.New("server: promoted while the session was open")
	// ErrMoved: the session has another process on the server's side than it
	// began with, which is what a connection pooler does.
	ErrMoved = errors.New("server: the session was moved to another server process; connect without a pooler")
	// ErrRecovery: only a primary can do this.
	ErrRecovery = errors.New("server: not possible in recovery, ask the primary")
)

// backup is the two functions that begin and end a non-exclusive backup, which
// 15 renamed (xlogfuncs.c: pg_start_backup, pg_backup_start).
type backup struct{ start, startQuery, stop, stopQuery string }

func backupOf(major int) backup {
	if major < 15 {
		return backup{
			"pg_start_backup", "SELECT pg_catalog.pg_start_backup($1::pg_catalog.text, $2::pg_catalog.bool, false)",
			"pg_stop_backup", "SELECT lsn, labelfile, spcmapfile FROM pg_catalog.pg_stop_backup(false, $1::pg_catalog.bool)",
		}
	}
	return backup{
		"pg_backup_start", "SELECT pg_catalog.pg_backup_start($1::pg_catalog.text, $2::pg_catalog.bool)",
		"pg_backup_stop", "SELECT lsn, labelfile, spcmapfile FROM pg_catalog.pg_backup_stop($1::pg_catalog.bool)",
	}
}

// StartBackup begins a backup and returns the place in the WAL from which a
// restore will replay. It waits for a checkpoint: at once if fast, otherwise
// spread over a good part of checkpoint_timeout, and behind another checkpoint
// if one is under way. That is nobody's fault, however long it takes: a patient
// operation. On a primary it also ends the current segment; on a standby
// it does not.
func (s *Session) StartBackup(ctx context.Context, label string, fast bool) (wal.LSN, error) {
	b := backupOf(s.info.Major)
	if !s.inBackup.CompareAndSwap(false, true) {
		return 0, fmt.Errorf("%s: %w", b.start, ErrInProgress)
	}
	row, err := s.ask(wait.WithWatch(ctx, nil), b.start, b.startQuery, label, strconv.FormatBool(fast))
	if err != nil {
		s.inBackup.Store(false)
		return 0, err
	}
	return parseLSN(b.start, row[0])
}

// StopResult is what the server says at the end of a backup.
type StopResult struct {
	// LSN is where replay must have come to before the copy is consistent:
	// the first byte not needed.
	LSN wal.LSN
	// Label and TablespaceMap are the content of backup_label and
	// tablespace_map byte for byte; a map without bytes is not to be stored.
	Label, TablespaceMap []byte
}

// StopBackup ends the backup. With waitForArchive it returns only when the
// server has archived the last segment it needs (primary; standby only with
// archive_mode=always): that can take for ever if archiving fails, so bound it
// by the context; it is a patient operation. A standby returns at once and archives
// nothing by itself.
func (s *Session) StopBackup(ctx context.Context, waitForArchive bool) (StopResult, error) {
	b := backupOf(s.info.Major)
	if !s.inBackup.CompareAndSwap(true, false) {
		return StopResult{}, fmt.Errorf("%s: %w", b.stop, ErrNoBackup)
	}
	if waitForArchive {
		ctx = wait.WithWatch(ctx, nil)
	}
	row, err := s.ask(ctx, b.stop, b.stopQuery, strconv.FormatBool(waitForArchive))
	if err != nil {
		return StopResult{}, err
	}
	lsn, err := parseLSN(b.stop, row[0])
	return StopResult{LSN: lsn, Label: row[1], TablespaceMap: row[2]}, err
}

// NewSegment writes a text into the log, so that the segment switch which
// StartBackup forces has something to end and the archiver something to show,
// however idle the server is. It returns the end of the record. Primary only.
func (s *Session) NewSegment(ctx context.Context, text string) (wal.LSN, error) {
	const call = "pg_logical_emit_message"
	if s.info.InRecovery {
		return 0, fmt.Errorf("%s: %w", call, ErrRecovery)
	}
	row, err := s.ask(ctx, call,
		"SELECT pg_catalog.pg_logical_emit_message(false, 'pgpipes'::pg_catalog.text, $1::pg_catalog.text)", text)
	if err != nil {
		return 0, err
	}
	return parseLSN(call, row[0])
}

// CurrentTimeline is the timeline the server is on. A primary's is current.
// A standby's may lag behind a switch that its last restartpoint has not seen
// (pg_walfile_name refuses to work in recovery): the backup label has the
// right one.
func (s *Session) CurrentTimeline(ctx context.Context) (wal.Timeline, error) {
	query, base := `SELECT pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 8)`, 16
	if s.info.InRecovery {
		query, base = `SELECT GREATEST(c.timeline_id, r.min_recovery_end_timeline)
			FROM pg_catalog.pg_control_checkpoint() c, pg_catalog.pg_control_recovery() r`, 10
	}
	row, err := s.ask(ctx, "current timeline", query)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(string(row[0]), base, 32)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("current timeline: %q", row[0])
	}
	return wal.Timeline(n), nil
}

// Alive asks the server a cheap question, which keeps firewalls from
// forgetting the connection and notices early that a backup is lost: the
// session ended, the standby was promoted (ErrPromoted), a pooler moved the
// session (ErrMoved). While another question is under way it returns nil at
// once: that one will hear of trouble itself.
func (s *Session) Alive(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
	default:
		return nil
	}
	defer func() { <-s.turn }()
	row, err := s.askNow(ctx, "session", "SELECT pg_catalog.pg_backend_pid(), pg_catalog.pg_is_in_recovery()")
	switch {
	case err != nil:
		return err
	case string(row[0]) != s.process:
		return ErrMoved
	case s.info.InRecovery && string(row[1]) == "f":
		return ErrPromoted
	}
	return nil
}

func parseLSN(call string, text []byte) (wal.LSN, error) {
	lsn, err := wal.ParseLSN(string(text))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", call, err)
	}
	return lsn, nil
}

package base

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/server"
	"pgpipes/lib/wal"
)

var (
	// ErrWrongServer says that a data directory is not that of the server
	// asked.
	ErrWrongServer = errors.New("not the data directory of this server")
	// ErrArchiving says that WAL does not arrive where it should.
	ErrArchiving = errors.New("archiving does not work")
	// ErrLabel says that a text cannot name a backup.
	ErrLabel = errors.New("not a label")
)

// LabelLayout is the form of a backup's name by default, for time.Format.
const LabelLayout = "20060102T150405Z"

// alivePeriod is how often the server is asked during the copy whether the
// backup is still going on.
const alivePeriod = 10 * time.Second

// part is the name of the only part of a stream that is not divided.
const part = "000"

// An Archive is a repository as a copy needs it.
type Archive interface {
	// Begin records that a backup has begun, which protects its WAL. It fails
	// if the label is taken.
	Begin(ctx context.Context, label string, tli wal.Timeline, start wal.LSN) error
	// Abort takes that back.
	Abort(ctx context.Context, label string) error
	// StoreHistories makes sure that the histories of a timeline and its
	// ancestors are there, taking them from a data directory if need be.
	StoreHistories(ctx context.Context, data string, tli wal.Timeline) error
	// FirstMissing names the first segment from first to last that is not
	// there, "" if all are.
	FirstMissing(ctx context.Context, tli wal.Timeline, first, last uint64) (string, error)
}

// CopyOptions say what to copy. Session and Data are needed.
type CopyOptions struct {
	Session *server.Session
	Data    string // the data directory
	Label   string // names the backup
	Fast    bool   // checkpoint at once
	Archive Archive
	// Unchecked copies without looking whether WAL is archived, before and
	// after.
	Unchecked bool
	// Patience bounds each wait for WAL: it ends when nothing further has
	// arrived for so long.
	Patience time.Duration
	Progress func(done, total int64)          // bytes; may be nil
	Warn     func(format string, args ...any) // for what is left out
	Notice   func(format string, args ...any) // for what is being waited for; may be nil
}

// Copied is a finished copy. Close it.
type Copied struct {
	Header  manifest.Header
	Bad     int // pages with wrong checksums; the first of them are in the header
	entries *manifest.Writer
}

// WriteManifest writes the manifest of the copy.
func (c *Copied) WriteManifest(w io.Writer) error { return c.entries.Finish(w, c.Header) }

// Close gives up what the copy holds.
func (c *Copied) Close() error { return c.entries.Close() }

// Copy writes a base backup of a running server's data directory to out, as one
// tar. When it fails, out holds no complete stream: that ends with
// backup_manifest and the trailer of the tar, which are written when the server
// has ended the backup in order and the WAL that belongs to it is archived.
func Copy(ctx context.Context, out io.Writer, o CopyOptions) (*Copied, error) {
	c := &copier{o: o, info: o.Session.Info()}
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	defer c.close()
	if err := c.begin(ctx); err != nil {
		return nil, err
	}
	err := c.copy(ctx, out)
	if err != nil {
		return nil, errors.Join(err, c.abort(ctx))
	}
	entries := c.sink.entries
	c.sink.entries = nil
	return &Copied{c.header, c.tree.badAll, entries}, nil
}

// copier is one copy under way.
type copier struct {
	o       CopyOptions
	info    server.Info
	control pgdata.Control
	header  manifest.Header
	tree    *tree
	sink    *sink
	begun   bool // recorded in the archive
}

func (c *copier) close() {
	if c.sink != nil {
		c.sink.close()
	}
}

// prepare finds out whether a copy can succeed before the server is troubled.
func (c *copier) prepare(ctx context.Context) error {
	if err := checkLabel(c.o.Label); err != nil {
		return err
	}
	var err error
	if c.control, _, err = pgdata.ReadControl(c.o.Data); err != nil {
		return err
	}
	if err := c.checkServer(); err != nil {
		return err
	}
	if err := c.checkArchiving(); err != nil {
		return err
	}
	c.tree, err = newTree(c.o.Data, c.control, c.o.Warn)
	return err
}

func checkLabel(label string) error {
	odd := func(r rune) bool {
		return !strings.ContainsRune("-._", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}
	if label == "" || label[0] == '.' || len(label) > 64 || strings.ContainsFunc(label, odd) {
		return fmt.Errorf("%w: %q (letters, digits, - _ and dots, at most 64, no dot first)", ErrLabel, label)
	}
	return nil
}

// checkServer makes sure that the session's server runs in the directory.
func (c *copier) checkServer() error {
	if c.control.SystemID != c.info.SystemID {
		return fmt.Errorf("%s: %w: its system identifier is %d, the server's %d", c.o.Data, ErrWrongServer, c.control.SystemID, c.info.SystemID)
	}
	ours, err := os.Stat(c.o.Data)
	if err != nil {
		return err
	}
	theirs, err := os.Stat(c.info.DataDirectory)
	if err == nil && !os.SameFile(ours, theirs) {
		return fmt.Errorf("%s: %w: that is %s", c.o.Data, ErrWrongServer, c.info.DataDirectory)
	}
	if _, err := os.Stat(filepath.Join(c.o.Data, "postmaster.pid")); err != nil {
		return fmt.Errorf("%s: %w: no server runs there (no postmaster.pid)", c.o.Data, ErrWrongServer)
	}
	return nil
}

// checkCheckpoint looks for the checkpoint that the server has just made in the
// directory's pg_control. A standby of this server, which has everything else in
// common with it, cannot have it yet when it is asked for; the role may not be
// allowed to see where the server's directory is.
func (c *copier) checkCheckpoint() error {
	if c.info.InRecovery {
		return nil
	}
	control, _, err := pgdata.ReadControl(c.o.Data)
	if err == nil && (control.State != pgdata.InProduction || control.Redo < c.header.StartLSN) {
		err = fmt.Errorf("%s: %w: its last checkpoint is at %s, the server's at %s", c.o.Data, ErrWrongServer, control.Redo, c.header.StartLSN)
	}
	return err
}

// begin starts the backup in the server and records it in the archive.
func (c *copier) begin(ctx context.Context) error {
	var mark wal.LSN
	var err error
	if c.watchesArchive() && !c.info.InRecovery {
		if mark, err = c.o.Session.NewSegment(ctx); err != nil {
			return err
		}
	}
	c.header = manifest.Header{
		Label: c.o.Label, Type: "full", SystemID: c.info.SystemID, Major: c.info.Major,
		Catalog: c.control.Catalog, SegmentSize: c.control.SegmentSize, BlockSize: int(c.control.BlockSize),
		Checksums: c.control.Checksums, StartTime: time.Now(), From: "primary", Parts: []manifest.Part{{Name: part}},
	}
	if c.info.InRecovery {
		c.header.From = "standby"
	}
	c.notice("waiting for the server's checkpoint%s", checkpointPace(c.o.Fast))
	if c.header.StartLSN, err = c.o.Session.StartBackup(ctx, c.o.Label, c.o.Fast); err != nil {
		return err
	}
	if err := c.checkCheckpoint(); err != nil {
		return err
	}
	if c.header.StartTimeline, err = c.o.Session.CurrentTimeline(ctx); err != nil {
		return err
	}
	if c.o.Archive != nil {
		if err := c.o.Archive.StoreHistories(ctx, c.o.Data, c.header.StartTimeline); err != nil {
			return err
		}
		if err := c.o.Archive.Begin(ctx, c.o.Label, c.header.StartTimeline, c.header.StartLSN); err != nil {
			return err
		}
		c.begun = true
	}
	if mark != 0 {
		if err := c.waitForMark(ctx, mark); err != nil {
			return errors.Join(err, c.abort(ctx))
		}
	}
	return nil
}

func (c *copier) notice(format string, args ...any) {
	if c.o.Notice != nil {
		c.o.Notice(format, args...)
	}
}

// checkpointPace says why that checkpoint takes its time.
func checkpointPace(fast bool) string {
	if fast {
		return ""
	}
	return ", which it spreads over checkpoint_timeout"
}

// abort takes the record back. The server forgets the backup with the session.
func (c *copier) abort(ctx context.Context) error {
	if !c.begun {
		return nil
	}
	return c.o.Archive.Abort(context.WithoutCancel(ctx), c.o.Label)
}

// copy writes the stream and fills the rest of the header.
func (c *copier) copy(ctx context.Context, out io.Writer) error {
	unwatched := ctx
	ctx, stop := c.watchServer(ctx)
	defer stop()
	sink, err := newSink(out)
	if err != nil {
		return err
	}
	c.sink = sink
	if err := c.tree.copyTo(ctx, sink, c.header.StartLSN, c.o.Progress); err != nil {
		return cause(ctx, err)
	}
	control, raw, err := pgdata.ReadControl(c.o.Data)
	if err != nil {
		return err
	}
	stopped, err := c.o.Session.StopBackup(ctx, false)
	if err != nil {
		return cause(ctx, err)
	}
	if err := c.finishHeader(control, stopped); err != nil {
		return err
	}
	stop() // the backup is over: a server that restarts now can no longer spoil it
	if err := c.waitForRange(unwatched); err != nil {
		return err
	}
	return c.writeEnd(stopped, raw)
}

// watchServer ends the context when the session or the backup in it is lost.
func (c *copier) watchServer(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(alivePeriod)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if err := c.o.Session.Alive(ctx); err != nil && ctx.Err() == nil {
					cancel(fmt.Errorf("the backup was lost while copying: %w", err))
				}
			}
		}
	}()
	return ctx, func() { cancel(nil); <-ended }
}

// cause prefers the reason why a context ended to what that made fail.
func cause(ctx context.Context, err error) error {
	if why := context.Cause(ctx); why != nil && !errors.Is(why, context.Canceled) {
		return why
	}
	return err
}

func (c *copier) finishHeader(control pgdata.Control, stopped server.StopResult) error {
	label, err := pgdata.ParseLabel(stopped.Label)
	if err != nil {
		return err
	}
	if label.StartLSN != c.header.StartLSN {
		return fmt.Errorf("backup_label begins at %s, the backup at %s", label.StartLSN, c.header.StartLSN)
	}
	h := &c.header
	h.StopLSN, h.StopTime = stopped.LSN, time.Now()
	h.StartTimeline, h.StopTimeline = label.Timeline, label.Timeline
	if c.info.InRecovery && control.MinRecoveryTimeline != label.Timeline {
		return fmt.Errorf("the standby went from timeline %d to %d during the backup: take it again", uint32(label.Timeline), uint32(control.MinRecoveryTimeline))
	}
	h.BadPages = c.tree.bad
	spaces, err := pgdata.ParseTablespaceMap(stopped.TablespaceMap)
	if err != nil {
		return err
	}
	for _, s := range spaces {
		h.Tablespaces = append(h.Tablespaces, manifest.Tablespace{OID: s.OID, Path: s.Path})
	}
	return c.tree.checkTablespaces(spaces)
}

// writeEnd writes what completes a stream: without pg_control, which comes
// nearly last, nobody can start a server on it.
func (c *copier) writeEnd(stopped server.StopResult, control []byte) error {
	at := c.header.StopTime
	if err := c.sink.addBytes(pgdata.LabelFile, stopped.Label, c.tree.owner, at); err != nil {
		return err
	}
	if len(stopped.TablespaceMap) > 0 {
		if err := c.sink.addBytes(pgdata.TablespaceMapFile, stopped.TablespaceMap, c.tree.owner, at); err != nil {
			return err
		}
	}
	if err := c.sink.addBytes(pgdata.ControlFile, control, c.tree.owner, at); err != nil {
		return err
	}
	return c.sink.finish(manifest.WALRange{
		Timeline: c.header.StartTimeline, Start: c.header.StartLSN, End: c.header.StopLSN,
	}, c.tree.owner, at)
}

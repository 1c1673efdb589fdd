// Package backup copies a running cluster out as a base stream, or in parts of one:
// from its data directory ([Copy]), or of what its server sends ([Receive]).
//
// The server itself says where the backup begins and ends. Until it has said so
// nothing is written with which a server could be started.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/server"
	"pgpipes/lib/stream"
	"pgpipes/lib/wait"
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

// newest is what scripts take for the newest backup there is: no backup is named so.
const newest = "last"

// alivePeriod is how often the server is asked during the copy whether the
// backup is still going on.
const alivePeriod = time.Second

// part is the name of the only part of a stream that is not divided.
var part = manifest.PartName(0)

// An Archive is a repository as a copy needs it.
type Archive interface {
	// Begin records that the backup of this header has begun, which protects
	// its WAL and its parent. It fails if the label is taken, unless the backup
	// goes on with what is left of an interrupted one of this label, and then
	// if that is not there any more.
	Begin(ctx context.Context, h manifest.Header, left *manifest.Header) error
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
	Tags    []string
	Fast    bool // checkpoint at once
	Archive Archive
	// Unchecked copies without looking whether WAL is archived, before and
	// after.
	Unchecked bool
	// WithWAL copies the WAL that the backup needs as well, so that it can be
	// started without an archive.
	WithWAL bool
	// Patience bounds each wait for WAL: it ends when nothing further has
	// arrived for so long.
	Patience time.Duration
	Parts    Parts                            // zero for one stream
	Since    io.Reader                        // the manifest of a backup to go on from; may be nil
	Follow   bool                             // copy what links in the data directory lead to
	MaxRate  int64                            // bytes a second; 0 for any
	Progress func(done, total int64)          // bytes; may be nil
	Warn     func(format string, args ...any) // for what is left out
	Notice   func(format string, args ...any) // for what is being waited for; may be nil
}

// Parts say how a copy is divided.
type Parts struct {
	// Command is run by sh for every part, which is its standard input, with
	// LABEL and PART in the environment. It prints the part's receipt, or
	// nothing.
	Command string
	Size    int64    // bytes of files in a part; a larger file is a part of its own
	Jobs    int      // how many parts are written at once
	Stderr  *os.File // of the commands
}

// Copied is a finished copy. Close it.
type Copied struct {
	Header  manifest.Header
	Bad     int // pages with wrong checksums; the first of them are in the header
	listing *listing
}

// WriteManifest writes the manifest of the copy.
func (c *Copied) WriteManifest(w io.Writer) error { return c.listing.entries.Finish(w, c.Header) }

// Close gives up what the copy holds.
func (c *Copied) Close() error { return c.listing.close() }

// Copy writes a base backup of a running server's data directory to out, as one
// tar, or through commands in parts, and then nothing to out. When it fails, there is
// no complete stream: that ends with backup_manifest and the trailer of the tar,
// which are written when the server has ended the backup in order and the WAL
// that belongs to it is archived.
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
	listing := c.listing
	c.listing = nil
	return &Copied{c.header, c.tree.bad.all.all, listing}, nil
}

// copier is one copy under way.
type copier struct {
	o       CopyOptions
	info    server.Info
	control pgdata.Control
	header  manifest.Header
	tree    *tree
	listing *listing
	outlet  *outlet // nil for one stream
	begun   bool    // recorded in the archive

	mu    sync.Mutex
	parts []manifest.Part // that are stored
}

func (c *copier) close() {
	if c.listing != nil {
		c.listing.close()
	}
}

// prepare finds out whether a copy can succeed before the server is troubled.
func (c *copier) prepare(ctx context.Context) error {
	if err := checkNames(c.o); err != nil {
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
	if c.tree, err = newTree(c.o.Data, c.control, c.o.Warn); err != nil {
		return err
	}
	c.tree.follow, c.tree.pace = c.o.Follow, wait.NewPace(c.o.MaxRate, c.o.Progress)
	if c.o.Since != nil {
		if c.tree.ancestor, err = readAncestor(c.o.Since, c.o.Label); err != nil {
			return err
		}
	}
	if c.resumes() && c.o.Parts.Command == "" {
		return fmt.Errorf("%s: %w: one stream cannot go on with itself", c.o.Label, ErrParent)
	}
	if c.o.Parts.Command != "" {
		c.outlet = &outlet{command: c.o.Parts.Command, label: c.o.Label, stderr: c.o.Parts.Stderr}
		if c.tree.ancestor != nil {
			c.outlet.numbers.after(c.tree.ancestor.lastNumber())
		}
	}
	c.listing, err = newListing()
	return err
}

func checkNames(o CopyOptions) error {
	for _, tag := range o.Tags {
		if !manifest.ValidTag(tag) {
			return fmt.Errorf("%w: tag %q (as labels are)", ErrLabel, tag)
		}
	}
	if o.Label == newest {
		return fmt.Errorf("%w: %q, which stands for the newest backup", ErrLabel, o.Label)
	}
	if !manifest.ValidLabel(o.Label) {
		return fmt.Errorf("%w: %q (letters, digits, - _ and dots, at most 64, no dot first)", ErrLabel, o.Label)
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
	mark, err := c.leaveMark(ctx)
	if err != nil {
		return err
	}
	c.header = c.newHeader()
	if c.o.WithWAL {
		if err := c.o.Session.ReserveWAL(ctx); err != nil {
			return err
		}
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
	c.nameDatabases(ctx)
	if err := c.descend(); err != nil {
		return err
	}
	return c.record(ctx, c.o.Data, mark)
}

// leaveMark writes a record whose segment the start of the backup will end. It
// returns the end of the record, 0 if nobody will look for it.
func (c *copier) leaveMark(ctx context.Context) (wal.LSN, error) {
	if !c.watchesArchive() || c.info.InRecovery {
		return 0, nil
	}
	return c.o.Session.NewSegment(ctx)
}

// newHeader is what is known before the backup begins.
func (c *copier) newHeader() manifest.Header {
	h := manifest.Header{
		Label: c.o.Label, Type: manifest.TypeFull, Tags: c.o.Tags, SystemID: c.info.SystemID, Major: c.info.Major,
		Catalog: c.control.Catalog, SegmentSize: c.control.SegmentSize, BlockSize: int(c.control.BlockSize),
		Checksums: c.control.Checksums, StartTime: time.Now(), From: "primary", WAL: c.o.WithWAL,
	}
	if c.info.InRecovery {
		h.From = "standby"
	}
	return h
}

// record tells the archive of the backup that has begun, with the histories in a
// data directory, and waits for the mark.
func (c *copier) record(ctx context.Context, data string, mark wal.LSN) error {
	if c.o.Archive != nil {
		if err := c.o.Archive.StoreHistories(ctx, data, c.header.StartTimeline); err != nil {
			return err
		}
		if err := c.o.Archive.Begin(ctx, c.header, c.left()); err != nil {
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

// nameDatabases notes the names of the databases, for whoever wants only some of
// them back. A backup is as good without.
func (c *copier) nameDatabases(ctx context.Context) {
	list, err := c.o.Session.Databases(ctx)
	if err != nil {
		c.notice("the names of the databases are not recorded: %v", err)
	}
	for _, d := range list {
		c.header.AddDatabase(d.OID, d.Name)
	}
}

// descend takes over from the backup since which this one copies.
func (c *copier) descend() error {
	a := c.tree.ancestor
	if a == nil {
		return nil
	}
	if err := a.fits(c.header, time.Now()); err != nil {
		return err
	}
	if !a.trusted {
		c.notice("the times of files tell nothing about %s: they are compared by their hashes", a.header.Label)
	}
	if !a.resumed() {
		c.header.Type, c.header.Parent = manifest.TypeIncremental, a.header.Label
	} else if a.header.Parent != "" {
		c.header.Type, c.header.Parent = manifest.TypeIncremental, a.header.Parent
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

// resumes reports whether the copy goes on with an interrupted one.
func (c *copier) resumes() bool { return c.tree.ancestor != nil && c.tree.ancestor.resumed() }

// left is what the interrupted one has left.
func (c *copier) left() *manifest.Header {
	if !c.resumes() {
		return nil
	}
	return &c.tree.ancestor.header
}

// abort takes the record back, unless parts are stored with which another copy
// can go on. The server forgets the backup with the session.
func (c *copier) abort(ctx context.Context) error {
	if !c.begun || c.resumes() || len(c.parts) > 0 && c.outlet != nil {
		return nil
	}
	return c.o.Archive.Abort(context.WithoutCancel(ctx), c.o.Label)
}

// copy writes the stream and fills the rest of the header.
func (c *copier) copy(ctx context.Context, out io.Writer) error {
	unwatched := ctx
	ctx, stop := c.watchServer(ctx)
	defer stop()
	c.tree.start = c.header.StartLSN
	whole, err := c.copyFiles(ctx, out)
	if err != nil {
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
	return c.end(unwatched, whole, stopped, raw)
}

// copyFiles copies the tree into one stream, whose worker it returns, or into
// parts.
func (c *copier) copyFiles(ctx context.Context, out io.Writer) (*worker, error) {
	if c.outlet != nil {
		return nil, c.copyParts(ctx)
	}
	if c.o.Progress != nil {
		total, err := c.tree.size(ctx)
		if err != nil {
			return nil, err
		}
		c.tree.pace.Total = total
	}
	w := newWorker(c.tree)
	w.begin(stream.NewWriter(out, part, c.listing.add))
	err := c.tree.copyTo(ctx, w)
	c.tree.bad.take(w.bad)
	c.parts = append(c.parts, manifest.Part{Name: part})
	return w, err
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
	h.BadPages = c.tree.bad.all.first
	spaces, err := pgdata.ParseTablespaceMap(stopped.TablespaceMap)
	if err != nil {
		return err
	}
	for _, s := range spaces {
		h.Tablespaces = append(h.Tablespaces, manifest.Tablespace{OID: s.OID, Path: s.Path})
	}
	return c.tree.checkTablespaces(spaces)
}

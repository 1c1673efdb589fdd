package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/store"
	"pgpipes/lib/wait"
)

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
		c.outlet = &outlet{command: c.o.Parts.Command, stderr: c.o.Parts.Stderr}
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
	if o.Label != "" && !manifest.ValidLabel(o.Label) {
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
	m, err := c.leaveMark(ctx)
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
	if c.header.StartLSN, err = c.o.Session.StartBackup(ctx, c.header.Label, c.o.Fast); err != nil {
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
	return c.record(ctx, c.o.Data, m)
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
	if h.Label == "" {
		h.Label = h.StartTime.UTC().Format(labelLayout)
	}
	return h
}

// record tells the archive of the backup that has begun, with the histories in a
// data directory, and waits for the mark.
func (c *copier) record(ctx context.Context, data string, m mark) error {
	if c.o.Archive != nil {
		if err := c.o.Archive.StoreHistories(ctx, data, c.header.StartTimeline); err != nil {
			return err
		}
	}
	if err := c.claim(ctx); err != nil {
		return err
	}
	if m.end != 0 {
		if err := c.waitForMark(ctx, m); err != nil {
			return errors.Join(err, c.abort(ctx))
		}
	}
	return nil
}

// claim settles the label and records the backup under it. A label that is only the
// time gives way to another backup of the same second.
func (c *copier) claim(ctx context.Context) error {
	err := c.announce(ctx)
	for at := c.header.StartTime.UTC(); c.o.Label == "" && errors.Is(err, store.ErrDiffers); {
		at = at.Add(time.Second)
		c.header.Label = at.Format(labelLayout)
		err = c.announce(ctx)
	}
	if err == nil && c.outlet != nil {
		c.outlet.label = c.header.Label
	}
	return err
}

// announce records the backup in the archive, if there is one.
func (c *copier) announce(ctx context.Context) error {
	if c.header.Label == c.header.Parent {
		return fmt.Errorf("%s: its parent has this label: %w", c.header.Label, store.ErrDiffers)
	}
	if c.o.Archive == nil {
		return nil
	}
	err := c.o.Archive.Begin(ctx, c.header, c.left())
	c.begun = err == nil
	return err
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
	return c.o.Archive.Abort(context.WithoutCancel(ctx), c.header.Label)
}

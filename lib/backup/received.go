package backup

import (
	"context"
	"errors"
	"fmt"
	"io"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/server"
	"pgpipes/lib/stream"
)

// ErrBadPages says that a server found pages with wrong checksums, and that this
// was not to be put up with.
var ErrBadPages = errors.New("pages with wrong checksums")

// ReceiveOptions say what to receive. Of the CopyOptions Data, Since and Follow
// mean nothing here; Session may be nil if Unchecked.
type ReceiveOptions struct {
	CopyOptions
	Replication *server.Replication
	Compression string // on the way here: gzip, lz4 or zstd, as the server can; "" is none
	Level       int
	KeepBad     bool // complete a backup with bad pages, which its manifest then lists
}

// Receive writes a base backup to out, or through commands in parts, as [Copy]
// does, of what the server itself sends: nothing is needed where that runs. The
// server verifies the page checksums.
//
// The parts are cut from one stream that cannot be had again: if a command fails
// so does the backup.
func Receive(ctx context.Context, out io.Writer, o ReceiveOptions) (*Copied, error) {
	r := &receiver{o: o, identity: o.Replication.Identity()}
	r.copier = &copier{o: o.CopyOptions}
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	defer r.close()
	if err := r.begin(ctx); err != nil {
		return nil, err
	}
	if err := r.receive(ctx, out); err != nil {
		return nil, errors.Join(err, r.abort(ctx))
	}
	listing := r.listing
	r.listing = nil
	return &Copied{r.header, r.tree.bad.all.all, listing}, nil
}

// receiver is one backup that is being received.
type receiver struct {
	*copier
	o        ReceiveOptions
	identity server.Identity
	backup   *server.BaseBackup
	promised promised
	cutter   *cutter
	kept     map[string][]byte // the end members
	opened   bool              // the first directories have been written
	bad      tallyOfPages
	buffers  [2][]byte
}

func (r *receiver) close() {
	r.copier.close()
	r.promised.close()
}

// receive writes the stream and fills the rest of the header.
func (r *receiver) receive(ctx context.Context, out io.Writer) error {
	unwatched := ctx
	ctx, rest, stop := r.watch(ctx)
	defer stop()
	r.cutter = newCutter(ctx, r.copier, out)
	defer r.cutter.abandon()
	if err := r.receiveFiles(); err != nil {
		return cause(ctx, err)
	}
	end, err := r.endOfBackup()
	if err != nil {
		return cause(ctx, err)
	}
	stopped := server.StopResult{LSN: end.LSN, Label: r.kept[pgdata.LabelFile], TablespaceMap: r.kept[pgdata.TablespaceMapFile]}
	if err := r.checkEnd(end, stopped); err != nil {
		return err
	}
	if n := r.tree.bad.all.all; n > 0 && !r.o.KeepBad { // of which the server did not tell
		return fmt.Errorf("%w: %d", ErrBadPages, n)
	}
	if err := r.cutter.finish(); err != nil {
		return cause(ctx, err)
	}
	rest() // the backup is over: a server that restarts now can no longer spoil it
	if err := r.waitForRange(unwatched, mark{}); err != nil {
		return err
	}
	r.copier.o.WithWAL = false // what there is has come with the files
	return r.end(unwatched, r.cutter.worker, stopped, r.kept[pgdata.ControlFile])
}

// watch ends the context when the server is promoted or lost, if there is a
// session by which that can be known before the backup itself ends.
func (r *receiver) watch(ctx context.Context) (watched context.Context, rest, stop func()) {
	if r.o.Session == nil {
		ctx, cancel := context.WithCancel(ctx)
		return ctx, cancel, cancel
	}
	return r.watchServer(ctx)
}

// endOfBackup is where the server ended the backup. Bad pages that it reports
// then are put up with if they may be.
func (r *receiver) endOfBackup() (server.BackupEnd, error) {
	end, err := r.backup.End()
	r.tree.bad.take(r.bad)
	if errors.Is(err, server.ErrChecksums) {
		r.tree.bad.all.all = max(r.tree.bad.all.all, 1)
		if !r.o.KeepBad {
			return end, fmt.Errorf("%w: %w", ErrBadPages, err)
		}
		err = nil
	}
	return end, err
}

// checkEnd makes sure that what has come fits together, and completes the
// header.
func (r *receiver) checkEnd(end server.BackupEnd, stopped server.StopResult) error {
	for _, name := range []string{pgdata.LabelFile, pgdata.ControlFile} {
		if _, ok := r.kept[name]; !ok {
			return stream.Bad("the server has sent no %s", name)
		}
	}
	if err := r.promised.check(r.identity.SystemID); err != nil {
		return err
	}
	control, err := pgdata.ParseControl(r.kept[pgdata.ControlFile])
	if err != nil {
		return err
	}
	if control.SystemID != r.identity.SystemID || control.SegmentSize != r.identity.SegmentSize {
		return stream.Bad("%s is of another cluster", pgdata.ControlFile)
	}
	label, err := pgdata.ParseLabel(stopped.Label)
	if err != nil {
		return err
	}
	if label.Timeline != end.Timeline {
		return fmt.Errorf("the server went from timeline %d to %d during the backup: take it again", uint32(label.Timeline), uint32(end.Timeline))
	}
	r.info.InRecovery = label.From == "standby"
	r.header.Catalog, r.header.From = control.Catalog, "primary"
	if r.info.InRecovery {
		r.header.From = "standby"
	}
	return r.finishHeader(control, stopped)
}

// firstMember is one of the directories that a stream begins with.
func (r *receiver) firstMember(path string, like stream.Member) stream.Member {
	return stream.Member{
		Entry: manifest.Entry{Kind: manifest.Directory, Path: path, Mode: r.identity.DataMode, Owner: like.Owner, MTime: r.header.StartTime},
		UID:   like.UID, GID: like.GID,
	}
}

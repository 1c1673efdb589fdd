package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"pgpipes/lib/pgdata"
	"pgpipes/lib/server"
	"pgpipes/lib/wait"
	"pgpipes/lib/wal"
)

// prepare finds out whether the backup can succeed before the server is
// troubled.
func (r *receiver) prepare(ctx context.Context) error {
	if err := checkNames(r.o.CopyOptions); err != nil {
		return err
	}
	if err := r.checkServers(); err != nil {
		return err
	}
	if err := r.checkArchiving(); err != nil {
		return err
	}
	if err := r.checkSpaces(ctx); err != nil {
		return err
	}
	id := r.identity
	r.control = pgdata.Control{
		SystemID: id.SystemID, BlockSize: uint32(id.BlockSize), RelationSegmentBlocks: uint32(id.RelationSegment / int64(id.BlockSize)),
		SegmentSize: id.SegmentSize, Checksums: id.Checksums,
	}
	r.tree = &tree{
		control: r.control, warn: r.o.Warn, spaces: map[uint32]string{}, pace: wait.NewPace(0, r.o.Progress), bad: &badPages{warn: r.o.Warn},
		endMode: endMode(id.DataMode),
	}
	if r.o.Parts.Command != "" {
		r.outlet = &outlet{command: r.o.Parts.Command, stderr: r.o.Parts.Stderr}
	}
	r.kept, r.buffers = map[string][]byte{}, [2][]byte{make([]byte, readSize), make([]byte, readSize)}
	r.promised = newPromised()
	var err error
	r.listing, err = newListing()
	return err
}

// checkServers makes sure that both connections lead to one server. Without a
// session some things are not known until the backup label comes.
func (r *receiver) checkServers() error {
	if r.o.Session == nil {
		r.info = server.Info{Major: r.identity.Major, SystemID: r.identity.SystemID}
		return nil
	}
	r.info = r.o.Session.Info()
	if r.info.SystemID != r.identity.SystemID {
		return fmt.Errorf("%w: its system identifier is %d, for replication %d", ErrWrongServer, r.info.SystemID, r.identity.SystemID)
	}
	return nil
}

// checkSpaces refuses tablespaces that the server would not send and say nothing:
// before 16 those that lie in the data directory itself (basebackup.c:sendDir).
func (r *receiver) checkSpaces(ctx context.Context) error {
	if r.o.Session == nil || r.info.Major >= 16 {
		return nil
	}
	inside, err := r.o.Session.InPlaceTablespaces(ctx)
	if err == nil && len(inside) > 0 {
		err = fmt.Errorf("tablespace %s lies in the data directory: before 16 servers do not send those", inside[0])
	}
	return err
}

// begin has the server begin, and records that in the archive.
func (r *receiver) begin(ctx context.Context) error {
	m, err := r.leaveMark(ctx)
	if err != nil {
		return err
	}
	histories, err := r.histories(ctx)
	if err != nil {
		return err
	}
	defer os.RemoveAll(histories)
	r.header = r.newHeader()
	if r.o.WithWAL && r.o.Session != nil {
		if err := r.o.Session.ReserveWAL(ctx); err != nil {
			return err
		}
	}
	r.notice("waiting for the server's checkpoint%s", checkpointPace(r.o.Fast))
	r.backup, err = r.o.Replication.BaseBackup(ctx, server.BaseBackupOptions{
		Label: r.header.Label, Fast: r.o.Fast, WAL: r.o.WithWAL, Progress: r.o.Progress != nil, MaxRate: r.o.MaxRate,
		Compression: r.o.Compression, Level: r.o.Level,
	})
	if err != nil {
		return err
	}
	b := r.backup
	if b.Timeline != r.identity.Timeline {
		return fmt.Errorf("the server went from timeline %d to %d as the backup began: take it again", uint32(r.identity.Timeline), uint32(b.Timeline))
	}
	r.header.StartLSN, r.header.StartTimeline = b.Start, b.Timeline
	if r.o.Session != nil {
		r.nameDatabases(ctx)
	}
	r.tree.start, r.tree.pace.Total = b.Start, b.Size
	for _, s := range b.Tablespaces {
		if filepath.IsAbs(s.Path) { // the others are not in the tablespace_map
			r.tree.spaces[s.OID] = s.Path
		}
	}
	return r.record(ctx, histories, m)
}

// histories puts the history files of the server's timeline and its ancestors
// where a data directory has them, below a temporary directory. One that the
// server does not have may be in the archive.
func (r *receiver) histories(ctx context.Context) (dir string, err error) {
	tli := r.identity.Timeline
	if r.o.Archive == nil || tli == 1 {
		return "", nil
	}
	if dir, err = os.MkdirTemp("", "histories"); err == nil {
		err = os.Mkdir(filepath.Join(dir, pgdata.WALDir), 0o700)
	}
	for err == nil && tli > 1 {
		text, herr := r.o.Replication.History(ctx, tli)
		if herr != nil {
			r.notice("%v", herr)
			break
		}
		name := wal.Name{Kind: wal.TimelineHistory, Timeline: tli}
		if err = os.WriteFile(filepath.Join(dir, pgdata.WALDir, name.String()), text, ownMode); err != nil {
			break
		}
		var h wal.History
		if h, err = wal.ParseHistory(tli, text); err == nil {
			tli = h[len(h)-1].Parent
		}
	}
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}

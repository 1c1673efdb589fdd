package restore

import (
	"bytes"
	"io"

	"pgpipes/lib/durable"
	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/stream"
)

// settle writes what depends on the places of the tablespaces, and gives the
// directories, now that nothing is written into them any more, their modes and
// times.
func (r *restorer) settle() error {
	err := r.writeSpaceMap()
	if err == nil && r.o.picks() {
		err = r.settleListed()
	} else if err == nil {
		err = manifest.Each(r.entries.Entries(), r.settleDirectory)
	}
	if err != nil {
		return err
	}
	for _, t := range r.targets.all {
		if err := r.dressTop(t); err != nil {
			return err
		}
	}
	return nil
}

// settleDirectory gives a directory below the top its mode and time.
func (r *restorer) settleDirectory(e manifest.Entry) error {
	t, name := r.targets.find(e.Path)
	if e.Kind != manifest.Directory || name == "." {
		return nil
	}
	return t.dress(name, e.Mode, e.MTime)
}

// dressTop does the same for the top of a target. A server starts only if its
// data directory has one of two modes (miscinit.c:checkDataDir). Streams of
// PostgreSQL's own do not have that directory; then global tells of it.
func (r *restorer) dressTop(t *target) error {
	m := t.top
	if m == nil {
		m = &r.global
	}
	if err := r.chown(t, ".", m); err != nil {
		return err
	}
	return t.dress(".", m.Mode&0o750|0o700, m.MTime)
}

// writeSignal makes the signal file, if the backup has not brought it. A server
// then cannot take what is restored for a cluster that has merely crashed: it
// wants to be told where WAL comes from, or stays a standby
// (xlogrecovery.c:readRecoverySignalFile).
func (r *restorer) writeSignal() error {
	data := r.targets.data
	if r.o.Signal == "" || data.has(r.o.Signal) {
		return nil
	}
	m := r.control // it belongs to the same user
	m.Path, m.Size = r.o.Signal, 0
	if err := r.writeFile(m, func(io.Writer) error { return nil }); err != nil {
		return err
	}
	return data.syncName(m.Path)
}

// commit gives pg_control its name: the one step that makes a cluster of what
// was written.
func (r *restorer) commit() error {
	data := r.targets.data
	if err := data.fillMark(r.intake.Kept[pgdata.ControlFile]); err != nil {
		return err
	}
	if err := r.dressFile(data.lock, &r.control); err != nil {
		return err
	}
	if err := data.lock.Sync(); err != nil {
		return err
	}
	if err := r.unmark(); err != nil {
		return err
	}
	if err := data.root.Rename(data.mark, pgdata.ControlFile); err != nil {
		return err
	}
	err := data.syncName("global")
	if err == nil {
		err = durable.SyncOpenDir(data.dir)
	}
	if err != nil {
		return join(err, data.root.Rename(pgdata.ControlFile, data.mark))
	}
	return nil
}

// unmark removes the marks of the tablespaces.
func (r *restorer) unmark() error {
	for _, t := range r.targets.spaces {
		if err := t.root.Remove(t.mark); err != nil {
			return err
		}
		if err := durable.SyncOpenDir(t.dir); err != nil {
			return err
		}
	}
	return nil
}

// writeSpaceMap writes tablespace_map with the places where the tablespaces
// are now: at its first start the server makes the links anew from it
// (xlogrecovery.c:read_tablespace_map), and the old places may belong to
// another server.
func (r *restorer) writeSpaceMap() error {
	old, found := r.intake.Kept[pgdata.TablespaceMapFile]
	if !found {
		return nil
	}
	list, err := pgdata.ParseTablespaceMap(old)
	if err != nil {
		return err
	}
	moved := false
	for i, s := range list {
		t := r.targets.spaces[s.OID]
		if t == nil {
			return stream.Bad("%s names tablespace %d, which has no place to go", pgdata.TablespaceMapFile, s.OID)
		}
		moved = moved || s.Path != t.path
		list[i].Path = t.path
	}
	now := old
	if moved {
		now = pgdata.FormatTablespaceMap(list)
	}
	if err := r.writeFile(r.spaceMap, func(w io.Writer) error {
		_, err := w.Write(now)
		return err
	}); err != nil || bytes.Equal(now, old) {
		return err
	}
	return r.rewriteServerManifest(now)
}

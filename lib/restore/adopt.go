package restore

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"pgpipes/lib/durable"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/stream"
)

// adopt takes a directory as it is, if that may be: a data directory of the
// right cluster in which no server runs, and the tablespaces that it links to.
// Where there is nothing, or what a killed restore left, there is nothing to
// adopt.
func (t *targets) adopt(one *target) (bool, error) {
	if t.cluster == 0 || one.root == nil {
		return false, nil
	}
	if other, err := one.content(); other == "" || err != nil {
		return false, err
	}
	if one != t.data {
		one.inPlace = t.data.inPlace && t.data.linksTo(one)
		if one.inPlace {
			return true, one.refuseLive()
		}
		return false, nil
	}
	if one.marked() && !one.has(pgdata.ControlFile) && !one.has(stream.DeltaMark) {
		return false, nil
	}
	if err := one.identify(t.cluster); err != nil {
		return false, err
	}
	one.inPlace, one.mark = true, stream.DeltaMark
	return true, nil
}

// linksTo reports whether the data directory has that tablespace there: no
// other one may be written to.
func (t *target) linksTo(space *target) bool {
	at, err := t.root.Readlink(linkName(space.oid))
	return err == nil && filepath.IsAbs(at) && filepath.Clean(at) == space.path
}

// identify refuses what is not a data directory of the cluster, or is in use.
func (t *target) identify(cluster uint64) error {
	if t.has(postmasterFile) {
		return badTarget("%s: a server runs in it, or did when it was lost (%s)", t.path, postmasterFile).
			Advise("if there is none any more, remove that file")
	}
	name := t.controlName()
	if name == pgdata.ControlFile && !t.has("PG_VERSION") {
		return badTarget("%s: not a data directory: no PG_VERSION in it", t.path)
	}
	f, err := t.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return badTarget("%s: not a data directory: no %s in it", t.path, name)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return t.checkCluster(f, cluster)
}

// controlName is where pg_control is: at its place, or the mark.
func (t *target) controlName() string {
	if !t.has(pgdata.ControlFile) && t.has(stream.DeltaMark) {
		return stream.DeltaMark
	}
	return pgdata.ControlFile
}

func (t *target) checkCluster(f *os.File, cluster uint64) error {
	raw := make([]byte, pgdata.ControlSize)
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, pgdata.ControlSize), raw); err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return err
	}
	control, err := pgdata.ParseControl(raw)
	if err != nil {
		return badTarget("%s: %v, so that nobody knows of which cluster it is", t.path, err).
			Advise("to give up what is in it, empty it by hand, and its tablespaces")
	}
	if control.SystemID != cluster {
		return badTarget("%s: of another cluster: its system identifier is %d, that of the backup %d", t.path, control.SystemID, cluster)
	}
	return nil
}

// seize makes pg_control the mark. A server that is being started meanwhile
// either has its pid file by now or will not find pg_control.
func (t *target) seize(cluster uint64) error {
	name := t.controlName()
	mark, err := t.root.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return t.busy()
	}
	if err != nil {
		return err
	}
	err = t.hold(mark, name)
	if err == nil {
		err = t.checkCluster(mark, cluster)
	}
	if err != nil {
		mark.Close()
		return err
	}
	t.lock, t.resumed = mark, name == stream.DeltaMark
	if t.resumed { // whoever was killed may not have come to that
		err = t.syncMove()
	} else {
		err = t.moveControl(name, stream.DeltaMark)
	}
	if err != nil {
		return err
	}
	if t.has(postmasterFile) {
		return badTarget("%s: a server has been started in it (%s)", t.path, postmasterFile)
	}
	return nil
}

func (t *target) moveControl(from, to string) error {
	if err := t.root.Rename(from, to); err != nil {
		return err
	}
	return t.syncMove()
}

func (t *target) syncMove() error {
	if err := t.syncName("global"); err != nil {
		return err
	}
	return durable.SyncOpenDir(t.dir)
}

// giveBack leaves a data directory of which nothing was changed as it was found.
func (t *target) giveBack() error {
	if t.resumed || !t.has(stream.DeltaMark) {
		return nil
	}
	return t.moveControl(stream.DeltaMark, pgdata.ControlFile)
}

// refuseLive refuses a tablespace of a running server: in a copy of a data
// directory the links lead to where the original's do. Servers stay in their
// data directories (miscinit.c:ChangeToDataDir).
func (t *target) refuseLive() error {
	here, err := t.dir.Stat()
	if err != nil {
		return err
	}
	running, _ := filepath.Glob("/proc/[0-9]*/cwd/" + postmasterFile) // those that may be looked at
	for _, name := range running {
		data := filepath.Dir(name)
		links, _ := filepath.Glob(filepath.Join(data, pgdata.TablespaceDir, "*"))
		for _, link := range links {
			if info, err := os.Stat(link); err == nil && os.SameFile(here, info) {
				if at, err := os.Readlink(data); err == nil {
					data = at
				}
				return badTarget("%s: a tablespace of the server that runs in %s", t.path, data).
					Advise("give --tablespace or --tablespace-root, or stop that server if it needs it no more")
			}
		}
	}
	return nil
}

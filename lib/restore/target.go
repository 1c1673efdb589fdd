package restore

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/stream"
)

// ErrTarget is in the chain of errors due to the place to restore to, for which
// another one has to be given.
var ErrTarget = errors.New("restore: unfit target")

func badTarget(format string, args ...any) *stream.Fault {
	return stream.NewFault(ErrTarget, format, args...)
}

const postmasterFile = "postmaster.pid"

// A target is a directory to restore into: the data directory or a tablespace.
type target struct {
	path    string // absolute
	oid     uint32 // of the tablespace; 0 is the data directory
	mark    string
	root    *os.Root       // nil while the directory is absent
	dir     *os.File       // the directory, open since before the first write
	lock    *os.File       // the mark
	made    bool           // the directory was absent
	remains bool           // what is in it is of a restore that was killed
	inPlace bool           // what is in it stays, as far as it is right
	spread  bool           // over more than one file system
	resumed bool           // so it was when a delta restore of it was killed
	top     *stream.Member // what the stream says about the directory itself
}

// open looks at the directory without changing anything.
func (t *target) open() error {
	_, err := os.Lstat(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		if info, err := os.Stat(filepath.Dir(t.path)); err != nil || !info.IsDir() {
			return badTarget("%s: there is no directory %s to make it in", t.path, filepath.Dir(t.path))
		}
		return nil
	}
	if err != nil {
		return err
	}
	if info, err := os.Stat(t.path); err != nil || !info.IsDir() {
		return badTarget("%s: not a directory", t.path)
	}
	return t.openRoot()
}

func (t *target) openRoot() (err error) {
	if t.root, err = os.OpenRoot(t.path); err == nil {
		t.dir, err = t.root.Open(".")
	}
	return err
}

// moveAway is for who is in the way of his own restore.
const moveAway = "when no server needs it any more move it away, and keep it: its pg_wal may hold what is not archived yet"

// examine refuses a directory that holds anything but remains, as ours knows
// them.
func (t *target) examine(ours func() bool) error {
	if t.root == nil || t.inPlace {
		return nil
	}
	other, err := t.content()
	t.remains = false
	switch {
	case err != nil || other == "":
		return err
	case t.has(postmasterFile):
		return badTarget("%s: a server runs in it, or did when it was lost (%s)", t.path, postmasterFile).Advise(moveAway)
	case t.has(stream.DeltaMark):
		return badTarget("%s: what a killed delta restore left", t.path).Advise("give --delta to go on with it")
	case !t.has(pgdata.ControlFile) && ours():
		t.remains = true
		return nil
	case t.has(pgdata.ControlFile) || t.has("PG_VERSION"):
		return badTarget("%s: a data directory", t.path).Advise(moveAway)
	case t.has(stream.TablespaceMark):
		return badTarget("%s: not empty: what a killed restore left, or a tablespace in use", t.path).Advise("if no server needs it, empty it by hand")
	case other == "lost+found":
		return badTarget("%s: not empty: it holds lost+found", t.path).Advise("give a directory below the mount point")
	}
	return badTarget("%s: not empty: it holds %s", t.path, manifest.Escape(other))
}

// content names something in the directory besides the mark, "" if there is
// nothing.
func (t *target) content() (string, error) {
	dir, err := t.root.Open(".")
	if err != nil {
		return "", err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(2)
	if err != nil && err != io.EOF {
		return "", err
	}
	for _, name := range names {
		if name != t.mark || !t.marked() {
			return name, nil
		}
	}
	return "", nil
}

func (t *target) has(name string) bool {
	_, err := t.root.Lstat(name)
	return err == nil
}

// empty removes everything but the mark, following no links.
func (t *target) empty() error {
	return t.list(".", func(name string) error {
		if name == t.mark {
			return nil
		}
		return t.root.RemoveAll(name)
	})
}

// unclaim leaves the directory as it was found, empty or absent.
func (t *target) unclaim() error {
	if t.lock == nil {
		if t.made {
			return os.Remove(t.path)
		}
		return nil
	}
	if t.inPlace && t.oid == 0 {
		return t.giveBack()
	}
	if !t.inPlace {
		if err := t.empty(); err != nil {
			return err
		}
	}
	err := t.root.Remove(t.mark)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil || !t.made {
		return err
	}
	return os.Remove(t.path)
}

// links reports whether the data directory has a link to a tablespace there.
func (t *target) links(path string) bool {
	dir, err := t.root.Open(pgdata.TablespaceDir)
	if err != nil {
		return false
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // as many as there are tablespaces
	for _, name := range names {
		if at, err := t.root.Readlink(filepath.Join(pgdata.TablespaceDir, name)); err == nil && at == path {
			return true
		}
	}
	return false
}

func (t *target) close() {
	for _, f := range []*os.File{t.lock, t.dir} {
		if f != nil {
			f.Close()
		}
	}
	if t.root != nil {
		t.root.Close()
	}
}

// linkName is the path of the link to a tablespace.
func linkName(oid uint32) string {
	return pgdata.TablespaceDir + "/" + strconv.FormatUint(uint64(oid), 10)
}

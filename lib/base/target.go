package base

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"pgpipes/lib/durable"
	"pgpipes/lib/lock"
	"pgpipes/lib/pgdata"
)

// The marks of a restore under way. It holds them locked, so that there can be
// only one in a directory. As the locks of a killed process are gone, a mark
// without one says that what is beside it are remains.
//
// The mark of the data directory is the first thing in it and at last becomes
// global/pg_control itself, by being renamed. So there is no moment at which a
// killed restore leaves both, or neither: remains have a mark and cannot be
// started; what can be started is complete and has none, and no later restore
// takes it for remains.
//
// The mark of a tablespace has a name of its own and is removed after that.
// Where it is left behind it does no harm, because it counts only together
// with a data directory that has its mark still and a link to the tablespace.
const (
	dataMark       = durable.TemporaryPrefix + "restoring"
	tablespaceMark = durable.TemporaryPrefix + "restoring-tablespace"
)

const postmasterFile = "postmaster.pid"

// A target is a directory to restore into: the data directory or a tablespace.
type target struct {
	path    string // absolute
	oid     uint32 // of the tablespace; 0 is the data directory
	mark    string
	root    *os.Root // nil while the directory is absent
	dir     *os.File // the directory, open since before the first write
	lock    *os.File // the mark
	made    bool     // the directory was absent
	remains bool     // what is in it is of a restore that was killed
	top     *Member  // what the stream says about the directory itself
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

// examine refuses a directory that holds anything but remains that are known
// to be ours.
func (t *target) examine(ours func() bool) error {
	if t.root == nil {
		return nil
	}
	other, err := t.content()
	t.remains = false
	switch {
	case err != nil || other == "":
		return err
	case t.has(postmasterFile):
		return badTarget("%s: a server runs in it, or did when it was lost (%s)", t.path, postmasterFile)
	case t.has(t.mark) && !t.has(pgdata.ControlFile) && ours():
		t.remains = true
		return nil
	case t.has(pgdata.ControlFile) || t.has("PG_VERSION"):
		return badTarget("%s: a data directory", t.path)
	case t.has(tablespaceMark):
		return badTarget("%s: not empty: what a killed restore left, or a tablespace in use", t.path).advise("if no server needs it, empty it by hand")
	case other == "lost+found":
		return badTarget("%s: not empty: it holds lost+found", t.path).advise("give a directory below the mount point")
	}
	return badTarget("%s: not empty: it holds %s", t.path, show(other))
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
		if info, err := t.root.Lstat(name); name != t.mark || err != nil || !info.Mode().IsRegular() {
			return name, nil
		}
	}
	return "", nil
}

func (t *target) has(name string) bool {
	_, err := t.root.Lstat(name)
	return err == nil
}

// claim makes the directory if it is absent, and marks and locks it.
func (t *target) claim(ours func() bool) error {
	if t.root == nil {
		if err := os.Mkdir(t.path, 0o700); err != nil {
			return err
		}
		t.made = true
		if err := durable.SyncDir(filepath.Dir(t.path)); err != nil {
			return err
		}
		if err := t.openRoot(); err != nil {
			return err
		}
	}
	flags := os.O_RDWR | os.O_CREATE | os.O_EXCL
	if t.has(t.mark) {
		flags = os.O_RDWR
	}
	mark, err := t.root.OpenFile(t.mark, flags, 0o600)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
		return t.busy()
	}
	if err != nil {
		return err
	}
	err = t.hold(mark)
	if err == nil { // another restore may have ended since the directory was looked at
		err = t.examine(ours)
		if err != nil && flags&os.O_EXCL != 0 {
			err = join(err, t.root.Remove(t.mark))
		}
	}
	if err != nil {
		mark.Close()
		return err
	}
	t.lock = mark // from now on what is in the directory is ours
	return t.explain()
}

// hold locks the mark, and makes sure that it still is one.
func (t *target) hold(mark *os.File) error {
	err := unix.Flock(int(mark.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return t.busy()
	case errors.Is(err, errors.ErrUnsupported) || errors.Is(err, unix.ENOLCK): // some network file systems
	case err != nil:
		return fmt.Errorf("%s: lock: %w", filepath.Join(t.path, t.mark), err)
	}
	held, err := mark.Stat()
	if err != nil {
		return err
	}
	if named, err := t.root.Lstat(t.mark); err != nil || !os.SameFile(named, held) {
		return t.busy()
	}
	return nil
}

func (t *target) busy() error {
	return fmt.Errorf("%s: %w: another restore is under way there", t.path, lock.ErrBusy)
}

// explain writes into the mark what it is, for whoever finds it.
func (t *target) explain() error {
	text := fmt.Sprintf("Being restored since %s by pid %d.\n"+
		"If that is gone, this directory holds what it left, and the next restore into it begins anew.\n",
		time.Now().UTC().Format(time.RFC3339), os.Getpid())
	if err := t.fillMark([]byte(text)); err != nil {
		return err
	}
	return syncDirectory(t.dir)
}

func (t *target) fillMark(b []byte) error {
	if err := t.lock.Truncate(0); err != nil {
		return err
	}
	if _, err := t.lock.WriteAt(b, 0); err != nil {
		return err
	}
	return t.lock.Sync()
}

// empty removes everything but the mark, following no links.
func (t *target) empty() error {
	dir, err := t.root.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(1000)
		for _, name := range names {
			if name == t.mark {
				continue
			}
			if err := t.root.RemoveAll(name); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// unclaim leaves the directory as it was found, empty or absent.
func (t *target) unclaim() error {
	if t.lock == nil {
		if t.made {
			return os.Remove(t.path)
		}
		return nil
	}
	if err := t.empty(); err != nil {
		return err
	}
	if err := t.root.Remove(t.mark); err != nil || !t.made {
		return err
	}
	return os.Remove(t.path)
}

// links reports whether the data directory has a link to a tablespace there.
func (t *target) links(path string) bool {
	dir, err := t.root.Open(tablespaceDir)
	if err != nil {
		return false
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // as many as there are tablespaces
	for _, name := range names {
		if at, err := t.root.Readlink(filepath.Join(tablespaceDir, name)); err == nil && at == path {
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
	return tablespaceDir + "/" + strconv.FormatUint(uint64(oid), 10)
}

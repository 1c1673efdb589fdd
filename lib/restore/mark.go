package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"pgpipes/lib/durable"
	"pgpipes/lib/lock"
	"pgpipes/lib/pgdata"
)

// The marks of a restore under way, whose names lib/stream has. It holds them
// locked, so that there can be only one in a directory. As the locks of a killed
// process are gone, a mark without one says that what is beside it are remains.
//
// The mark of the data directory is the first thing in it and at last becomes
// global/pg_control itself: it is filled with the contents, and renamed. So
// there is no moment at which a killed restore leaves both, or neither: remains
// have a mark and cannot be started; what can be started is complete and has
// none, and no later restore takes it for remains.
//
// The mark of a tablespace has a name of its own, lest somebody restore a data
// directory there, and counts only together with remains of a data directory
// that link to the tablespace. It is removed between the filling and the
// renaming of the other mark; during that step the filled mark stands for it.
//
// A data directory that is there already gets a mark of a third name, which is
// its own global/pg_control renamed. So it cannot be started any more from the
// moment on at which it is marked, and the mark says of which cluster it is: a
// killed delta restore has left something that only another one may go on with.

// marked reports whether there is a mark. A link is none.
func (t *target) marked() bool {
	info, err := t.root.Lstat(t.mark)
	return err == nil && info.Mode().IsRegular()
}

// isFilled reports whether the mark holds a pg_control already.
func (t *target) isFilled() bool {
	text, err := t.root.ReadFile(t.mark)
	if err == nil {
		_, err = pgdata.ParseControl(text)
	}
	return err == nil
}

// claim makes the directory if it is absent, and marks and locks it. The mark
// is still to be explained.
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
	remains, found, flags := t.remains, t.marked(), os.O_RDWR
	if !found {
		flags |= os.O_CREATE | os.O_EXCL
	}
	if !found && remains && t.oid == 0 { // another restore has ended meanwhile
		return t.busy()
	}
	mark, err := t.root.OpenFile(t.mark, flags, 0o600)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
		return t.busy()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", t.path, err)
	}
	err = t.hold(mark, t.mark)
	if err == nil { // something may have come since the directory was looked at
		err = t.examine(func() bool { return remains && ours() })
		if err != nil && !found {
			err = join(err, t.root.Remove(t.mark))
		}
	}
	if err != nil {
		mark.Close()
		return err
	}
	t.lock = mark // from now on what is in the directory is ours
	return nil
}

// hold locks the mark, and makes sure that it still has that name.
func (t *target) hold(mark *os.File, name string) error {
	err := unix.Flock(int(mark.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return t.busy()
	case errors.Is(err, errors.ErrUnsupported) || errors.Is(err, unix.ENOLCK): // some network file systems
	case err != nil:
		return fmt.Errorf("%s: lock: %w", filepath.Join(t.path, name), err)
	}
	held, err := mark.Stat()
	if err != nil {
		return err
	}
	if named, err := t.root.Lstat(name); err != nil || !os.SameFile(named, held) {
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
	return durable.SyncOpenDir(t.dir)
}

func (t *target) fillMark(b []byte) error {
	if _, err := t.lock.WriteAt(b, 0); err != nil {
		return err
	}
	if err := t.lock.Truncate(int64(len(b))); err != nil {
		return err
	}
	return t.lock.Sync()
}

// Package durable makes files that appear under their name whole or not at
// all, and that are on stable storage when a call says so.
//
// # Guarantees
//
// A File is written without a visible name where the file system can do that
// (O_TMPFILE), so a process killed at any instant leaves nothing behind;
// elsewhere it has a hidden temporary name beside the final one. Publish and
// Replace sync the bytes before the name exists, and the directory after it.
package durable

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// TemporaryPrefix begins the name of every temporary file made here.
const TemporaryPrefix = ".pgpipes-"

// A File is a file in the making. Use it from one goroutine.
type File struct {
	file *os.File
	path string // the name it shall get
	temp string // the name it has meanwhile, "" when it has none
	size int64  // bytes written
	sent int64  // bytes whose way to the disk has been begun
	over bool   // published or given up
}

// Create starts a file that Publish or Replace will put at path. The mode is
// perm less the umask. Close must be called in any case.
func Create(path string, perm fs.FileMode) (*File, error) {
	if file, err := openUnnamed(filepath.Dir(path), perm); err == nil {
		return &File{file: file, path: path}, nil
	} else if !errors.Is(err, errors.ErrUnsupported) {
		return nil, err
	}
	return createNamed(path, perm)
}

// createNamed is Create for file systems without unnamed files.
func createNamed(path string, perm fs.FileMode) (*File, error) {
	temp := temporaryName(path)
	file, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, err
	}
	temporaries.Store(temp, nil)
	return &File{file: file, path: path, temp: temp}, nil
}

// openUnnamed opens a file without a name in dir. The error is
// errors.ErrUnsupported where the system cannot do it or could not give the
// file a name later, which goes through /proc.
func openUnnamed(dir string, perm fs.FileMode) (*os.File, error) {
	if !haveProc() {
		return nil, errors.ErrUnsupported
	}
	file, err := os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, perm)
	// Kernels and file systems that do not know the flag see a directory
	// opened for writing (EISDIR), or say EOPNOTSUPP or EINVAL.
	for _, cannot := range []error{unix.EOPNOTSUPP, unix.EISDIR, unix.EINVAL} {
		if errors.Is(err, cannot) {
			return nil, errors.ErrUnsupported
		}
	}
	return file, err
}

var haveProc = sync.OnceValue(func() bool {
	_, err := os.Stat("/proc/self/fd")
	return err == nil
})

func temporaryName(path string) string {
	return filepath.Join(filepath.Dir(path), TemporaryPrefix+rand.Text()+".tmp")
}

// Write appends to the file.
func (f *File) Write(p []byte) (int, error) {
	n, err := f.file.Write(p)
	f.size += int64(n)
	return n, err
}

// Sync makes durable what was written so far. Publish and Replace do so too; a
// caller who has to wait before them saves them the time.
func (f *File) Sync() error { return f.file.Sync() }

// syncPiece is how many bytes are gathered before their way to the disk begins.
const syncPiece = 32 << 20

// StartSync begins with what a Sync would have to do, if that is much by now.
func (f *File) StartSync() {
	if gathered := f.size - f.sent; gathered >= syncPiece {
		_ = unix.SyncFileRange(int(f.file.Fd()), f.sent, gathered, unix.SYNC_FILE_RANGE_WRITE)
		f.sent = f.size
	}
}

// Size is the number of bytes written.
func (f *File) Size() int64 { return f.size }

// ReadAt reads what was written.
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.file.ReadAt(p, off) }

// Publish syncs the file, gives it its name and syncs the directory. It never
// replaces anything: the error is fs.ErrExist when the name is taken, and
// Publish may be called again after any error in giving the name.
func (f *File) Publish() error {
	if err := f.file.Sync(); err != nil {
		return err
	}
	if err := f.link(f.path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(f.path))
}

// Replace is Publish for a name that may be taken: what was there before is
// replaced in one step.
func (f *File) Replace() error {
	if err := f.file.Sync(); err != nil {
		return err
	}
	if err := f.ReplaceUnsynced(); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(f.path))
}

// ReplaceUnsynced is Replace without a sync, for a caller who knows that the
// reader of the file will sync it.
func (f *File) ReplaceUnsynced() error {
	if f.temp == "" {
		err := f.link(f.path)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		temp := temporaryName(f.path)
		temporaries.Store(temp, nil)
		if err := f.link(temp); err != nil {
			temporaries.Delete(temp)
			return err
		}
		f.temp, f.over = temp, false
	}
	if err := os.Rename(f.temp, f.path); err != nil {
		return err
	}
	f.named()
	return nil
}

// link gives the file the name path unless that is taken.
func (f *File) link(path string) error {
	if f.temp == "" {
		from := fmt.Sprintf("/proc/self/fd/%d", f.file.Fd())
		if err := unix.Linkat(unix.AT_FDCWD, from, unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW); err != nil {
			return &os.LinkError{Op: "link", Old: "unnamed file", New: path, Err: err}
		}
		f.over = true
		return nil
	}
	if err := linkOrMove(f.temp, path); err != nil {
		return err
	}
	f.named()
	return nil
}

// linkOrMove publishes a named temporary file. File systems without hard links
// get a rename that refuses to overwrite.
func linkOrMove(temp, path string) error {
	err := os.Link(temp, path)
	if err == nil {
		return os.Remove(temp)
	}
	for _, cannot := range []error{unix.EPERM, unix.EOPNOTSUPP, unix.ENOSYS, unix.EMLINK} {
		if errors.Is(err, cannot) {
			if err := unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE); err != nil {
				return &os.LinkError{Op: "rename", Old: temp, New: path, Err: err}
			}
			return nil
		}
	}
	return err
}

// named records that the temporary name is gone.
func (f *File) named() {
	temporaries.Delete(f.temp)
	f.over = true
}

// Close ends the work on the file. One that has not got its name is gone.
func (f *File) Close() error {
	err := f.file.Close()
	if !f.over && f.temp != "" {
		err = errors.Join(err, os.Remove(f.temp))
		f.named()
	}
	return err
}

// WriteFile puts what write produces at path in one step, replacing what was
// there. When write or anything else fails, path is as it was.
func WriteFile(path string, perm fs.FileMode, write func(io.Writer) error) error {
	f, err := Create(path, perm)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.ReplaceWith(write)
}

// ReplaceWith is Replace with what write produces, if that does not fail.
func (f *File) ReplaceWith(write func(io.Writer) error) error {
	if err := write(f); err != nil {
		return err
	}
	return f.Replace()
}

// temporaries holds the names that a killed process has to remove.
var temporaries sync.Map

// RemoveTemporaries removes the named temporary files of this process. It is
// for the moment before dying of a signal.
func RemoveTemporaries() {
	temporaries.Range(func(name, _ any) bool {
		_ = os.Remove(name.(string)) // nobody is left to tell
		return true
	})
}

package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// SyncDir makes the names in a directory durable.
func SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return SyncOpenDir(dir)
}

// SyncOpenDir is SyncDir for an open directory. File systems that cannot sync
// one (some network ones say EINVAL) are taken at their word.
func SyncOpenDir(dir *os.File) error {
	err := dir.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// SyncFile makes an existing file durable, and its name.
func SyncFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := file.Sync(); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Mkdir makes a directory that may be there already, and syncs its parent.
// The parent is synced in either case, because whoever made the directory may
// have been killed before doing so; where an old directory's parent may not be
// read, it was not made by a process like this one.
func Mkdir(path string, perm fs.FileMode) error {
	made := os.Mkdir(path, perm)
	if made != nil {
		if info, err := os.Stat(path); err != nil || !info.IsDir() {
			return made
		}
	}
	err := SyncDir(filepath.Dir(path))
	if made != nil && errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}

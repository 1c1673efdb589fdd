package restore

import (
	"io/fs"
	"path"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// isMountPoint reports whether something is mounted there, a single file too.
// Kernels before 5.8 do not say so of a second view of the same file system.
func (t *target) isMountPoint(name string, info fs.FileInfo) (bool, error) {
	parent, err := t.root.Open(path.Dir(name))
	if err != nil {
		return false, err
	}
	defer parent.Close()
	var s unix.Statx_t
	err = unix.Statx(int(parent.Fd()), path.Base(name), unix.AT_SYMLINK_NOFOLLOW, unix.STATX_TYPE, &s)
	if err == nil && s.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return s.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
	}
	above, err := parent.Stat()
	if err != nil {
		return false, err
	}
	return deviceOf(above) != deviceOf(info), nil
}

func deviceOf(info fs.FileInfo) uint64 {
	s, _ := info.Sys().(*syscall.Stat_t)
	if s == nil {
		return 0
	}
	return s.Dev
}

func mountError(t *target, name string, err error) error {
	if err != nil {
		return err
	}
	return badTarget("%s: a mount point, where the backup has something else or nothing", filepath.Join(t.path, name)).
		Advise("unmount it, if it is not needed any more")
}

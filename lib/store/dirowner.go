package store

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// asOwner does something to the names in the store with the rights of the owner of
// its directory if this process is root. Root works in his place: what it leaves
// there must not lock him out, and what he has put into its way must not have it do
// more than he could. What he may not do root does, and it stays root's.
func (d *Dir) asOwner(do func() error) error {
	uid, gid, other := d.owner()
	if !other {
		return do()
	}
	err := withRights(uid, gid, do)
	if errors.Is(err, fs.ErrPermission) {
		return do()
	}
	return err
}

// withRights does something as another user of the file system, which is a matter of
// one thread (setfsuid(2)); new ones are not made from one that is locked.
func withRights(uid, gid int, do func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer unix.Setfsgid(os.Getegid())
	defer unix.Setfsuid(os.Geteuid())
	unix.Setfsgid(gid)
	unix.Setfsuid(uid)
	return do()
}

// owner is who the directory is of, if this process is root and he is not.
func (d *Dir) owner() (uid, gid int, other bool) {
	if os.Geteuid() != 0 {
		return 0, 0, false
	}
	info, err := os.Stat(d.root)
	if err != nil {
		return 0, 0, false
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok || s.Uid == 0 {
		return 0, 0, false
	}
	return int(s.Uid), int(s.Gid), true
}

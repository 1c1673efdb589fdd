package store

import (
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Root works in the place of a repository's owner, whom what it leaves there must
// not lock out: it gets the owner of the directory that the store is in. Where that
// is not possible, as over NFS, it stays whose it is.

// owner is who that directory is of, if this process is root and he is not.
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

// hand gives a new file to the owner.
func (d *Dir) hand(f interface{ Chown(uid, gid int) error }) {
	if uid, gid, other := d.owner(); other {
		_ = f.Chown(uid, gid)
	}
}

// handDirectory gives a directory to the owner that root has just made. He might put
// another in its place meanwhile: nothing that he could gain by is given away.
func (d *Dir) handDirectory(key string) {
	uid, gid, other := d.owner()
	if !other {
		return
	}
	dir, err := os.OpenFile(d.path(key), os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return
	}
	defer dir.Close()
	info, err := dir.Stat()
	if err != nil {
		return
	}
	if s, ok := info.Sys().(*syscall.Stat_t); !ok || s.Uid != 0 {
		return
	}
	if _, err := dir.Readdirnames(1); err == io.EOF {
		_ = dir.Chown(uid, gid)
	}
}

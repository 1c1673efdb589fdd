package guard

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// closing is how long the server may take to close a file that it was told to.
	closing = time.Second
	glance  = 10 * time.Millisecond
)

// isWritten reports whether a file stays open for writing anywhere, as in another
// conversation. None that is not open will be opened again: what is there is opened for
// reading only. Where nobody can tell it is not.
func isWritten(name string) bool {
	for deadline := time.Now().Add(closing); hasWriter(name); time.Sleep(glance) {
		if time.Now().After(deadline) {
			return true
		}
	}
	return false
}

// hasWriter asks for a lease for reading, which nobody gets while somebody can write
// (fcntl(2), F_SETLEASE).
func hasWriter(name string) bool {
	file, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist) // which the server will say
	}
	defer file.Close()
	if isRemote(file) {
		return false
	}
	_, err = unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	return err == unix.EAGAIN
}

// isRemote reports whether a file is on another host, which gives leases or not as it
// likes (fs/nfs/nfs4proc.c: nfs4_add_lease).
func isRemote(file *os.File) bool {
	var at unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &at); err != nil {
		return false
	}
	switch at.Type {
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC:
		return true
	}
	return false
}

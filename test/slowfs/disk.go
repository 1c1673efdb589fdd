package slowfs

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"pgpipes/test/pgtest"
)

// A Disk is a small one, that fills up.
type Disk struct{ Dir string }

// MountDisk mounts a new and empty disk with so many MiB of room, which lives
// in memory, for the servers of pgtest. The rest is as with Mount.
func MountDisk(t testing.TB, size int) *Disk {
	t.Helper()
	d := &Disk{pgtest.TempDir(t)}
	owner, err := os.Stat(d.Dir)
	if err != nil {
		t.Fatal(err)
	}
	guard(t, d.Dir)
	if err := d.mount(0, size); err != nil {
		refuse(t, err)
	}
	stat := owner.Sys().(*syscall.Stat_t)
	if err := os.Chown(d.Dir, int(stat.Uid), int(stat.Gid)); err != nil {
		t.Fatal(err)
	}
	return d
}

// Resize changes how much room there is.
func (d *Disk) Resize(t testing.TB, size int) {
	t.Helper()
	if err := d.mount(syscall.MS_REMOUNT, size); err != nil {
		t.Fatalf("slowfs: %v", err)
	}
}

func (d *Disk) mount(flags uintptr, size int) error {
	return syscall.Mount("slowfs-disk", d.Dir, "tmpfs", flags, fmt.Sprintf("size=%dm,mode=700", size))
}

package slowfs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// unmount waits until its standard input ends, with the test or with a process
// that was killed, and then takes away what is still mounted, and the directory
// it was mounted at. A mount that is in use goes with its last user.
const unmount = `read -r _; umount -l "$0" 2>/dev/null || fusermount3 -uz "$0" 2>/dev/null; rmdir "$0" 2>/dev/null`

// guard has a process of its own look after a mount, so that none is left
// behind however this one ends.
func guard(t testing.TB, dir string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", unmount, dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no signal for this process is for it
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatalf("slowfs: %v", err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
}

// Able reports whether the user may mount.
func Able() bool {
	_, missing := exec.LookPath("fusermount3")
	return os.Geteuid() == 0 || missing == nil && unix.Access("/dev/fuse", unix.R_OK|unix.W_OK) == nil
}

// refuse ends a test that cannot mount: root can.
func refuse(t testing.TB, err error) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skipf("slowfs: it takes root, or fusermount3 and access to /dev/fuse: %v", err)
	}
	t.Fatalf("slowfs: %v", err)
}

// keepFromPrograms closes the descriptors of a file to programs that this
// process starts: a server would hold the mount after this process is killed.
func keepFromPrograms(path string) {
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == path {
			if fd, err := strconv.Atoi(filepath.Base(link)); err == nil {
				syscall.CloseOnExec(fd)
			}
		}
	}
}

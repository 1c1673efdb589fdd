package cli

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// letGo keeps the end of the process from waiting for a file system that hangs.
//
// The system closes what a process has open when it ends. A network's file
// system may be asked then whether all has arrived, and be waited for without
// end: the process that has ended stays, and so does its parent's wait for it.
// Files are closed when the last user of the table of descriptors is gone. So a
// child is made that shares the table and nothing else, waits until this
// process is gone, and then ends, or hangs, without anybody who waits for it.
//
// What it cannot do is to end a thread that the kernel does not let go, as of a
// dead disk or a hard mount: then nobody can, and the process stays.
//
// The child is a copy of a program of many threads in which only this one goes
// on, and so can do no more than the bare system calls here.
func letGo() {
	self, pause := uintptr(os.Getpid()), unix.Timespec{Nsec: 10e6}
	child, _, failed := syscall.RawSyscall6(unix.SYS_CLONE, unix.CLONE_FILES, 0, 0, 0, 0, 0)
	if child != 0 || failed != 0 {
		return
	}
	closeFrom(0, 3) // others wait for their ends
	for {
		parent, _, _ := syscall.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
		if parent != self {
			break
		}
		_, _, _ = syscall.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&pause)), 0, 0)
	}
	closeFrom(3, mostFiles) // locks go, up to the file that hangs
	_, _, _ = syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
}

// mostFiles is more than a program here has open.
const mostFiles = 1024

//go:nosplit
func closeFrom(fd, end uintptr) {
	for ; fd < end; fd++ {
		_, _, _ = syscall.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
	}
}

package crash

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// A kind is a system call with which a program works, rather than Go's runtime.
type kind struct {
	number uint64
	name   string
	writes bool // it changes something
}

// kinds are the calls that are made to fail one by one. At those that are not
// among them a program is killed, too, but only at the first few of each.
var kinds = []kind{
	{unix.SYS_OPENAT, "openat", true}, {unix.SYS_READ, "read", false}, {unix.SYS_PREAD64, "pread64", false},
	{unix.SYS_WRITE, "write", true}, {unix.SYS_PWRITE64, "pwrite64", true}, {unix.SYS_COPY_FILE_RANGE, "copy_file_range", true},
	{unix.SYS_FSYNC, "fsync", true}, {unix.SYS_FDATASYNC, "fdatasync", true}, {unix.SYS_SYNCFS, "syncfs", true},
	{unix.SYS_CLOSE, "close", true}, {unix.SYS_LINKAT, "linkat", true}, {unix.SYS_SYMLINKAT, "symlinkat", true},
	{unix.SYS_RENAME, "rename", true}, {unix.SYS_RENAMEAT, "renameat", true}, {unix.SYS_RENAMEAT2, "renameat2", true},
	{unix.SYS_UNLINKAT, "unlinkat", true}, {unix.SYS_RMDIR, "rmdir", false}, {unix.SYS_MKDIRAT, "mkdirat", true},
	{unix.SYS_NEWFSTATAT, "newfstatat", false}, {unix.SYS_FSTAT, "fstat", false}, {unix.SYS_GETDENTS64, "getdents64", false},
	{unix.SYS_FTRUNCATE, "ftruncate", true}, {unix.SYS_FALLOCATE, "fallocate", true}, {unix.SYS_FLOCK, "flock", false},
	{unix.SYS_FCHMOD, "fchmod", true}, {unix.SYS_FCHMODAT, "fchmodat", true}, {unix.SYS_FCHOWN, "fchown", true},
	{unix.SYS_FCHOWNAT, "fchownat", true}, {unix.SYS_UTIMENSAT, "utimensat", true}, {unix.SYS_LSEEK, "lseek", false},
}

// few is at how many of the calls of a kind that is not among kinds a program is
// killed.
const few = 1

// places is at how many calls of a kind a test stops, of so many. On a poorer
// system only writing is another matter.
func places(number uint64, count int, without []string) int {
	k, works := kindOf(number)
	switch {
	case len(without) > 0 && !k.writes:
		return 0
	case !works:
		return min(count, few)
	}
	return count
}

// kindOf finds the kind of a system call.
func kindOf(number uint64) (k kind, works bool) {
	for _, k := range kinds {
		if k.number == number {
			return k, true
		}
	}
	return kind{number: number, name: fmt.Sprint("system call ", number)}, false
}

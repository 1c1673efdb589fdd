package crash

import (
	"fmt"
	"os/exec"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// filterVariable makes this test binary a program that runs another one on a
// poorer system.
const filterVariable = "PGPIPES_CRASH_WITHOUT"

// What a file system may be without.
const (
	unnamedFiles = "unnamed files" // as some network and older ones
	hardLinks    = "hard links"    // as FAT and some network ones
)

// filtered becomes the command, for which the system calls fail that the system
// shall be without. It returns only with an error.
func filtered(without, argv []string) error {
	const nr, flags = 0, 16 + 2*8 // offsets in struct seccomp_data
	refuse := func(errno unix.Errno) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)}
	}
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	equal := func(value uint32, skip uint8) unix.SockFilter { // skips if it is not
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: skip}
	}
	program := []unix.SockFilter{load(nr)}
	for _, what := range without {
		switch what {
		case unnamedFiles:
			const bit = unix.O_TMPFILE &^ unix.O_DIRECTORY
			program = append(program, equal(unix.SYS_OPENAT, 4), load(flags),
				unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: bit, Jf: 1}, refuse(unix.EOPNOTSUPP), load(nr))
		case hardLinks:
			program = append(program, equal(unix.SYS_LINKAT, 1), refuse(unix.EPERM))
		default:
			return fmt.Errorf("a system without %s?", what)
		}
	}
	program = append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	runtime.LockOSThread() // the filter is a thread's
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0); err != nil {
		return err
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	return unix.Exec(path, argv, unix.Environ())
}

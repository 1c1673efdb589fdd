// Package lock is mutual exclusion between processes.
//
// A Lock is a file that one holder at a time has locked with flock(2). The
// kernel frees it when the last process that has the file open is gone, so a
// killed holder blocks nobody. The file says in text who holds it, or held it last
// if its holder may not write there. It is never removed, as removing it would let
// two processes lock two files of one name.
//
// A Lease is for stores that have no such files. It has to be renewed, and ends
// when that is not done for a while: a holder that was killed blocks others for up
// to a minute, see DefaultTerm. A directory that others reach as such a store has
// both, see Leased, and so is free after that only.
package lock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pgpipes/lib/wait"
)

// ErrBusy says that somebody else holds the lock.
var ErrBusy = errors.New("busy")

const pollInterval = 50 * time.Millisecond

// A Lock is held from Acquire until the file is closed in every process that
// has it open.
type Lock struct{ file *os.File }

// Acquire takes the lock in the file path, which is made when missing, and
// writes into it that command holds it, if it may and there is room. It waits for a
// busy lock as long as patience says; then the error wraps ErrBusy and names the
// holder.
func Acquire(ctx context.Context, path, command string, patience time.Duration) (*Lock, error) {
	done := wait.For(ctx, "opening "+path)
	file, writable, err := open(path)
	done()
	if err != nil {
		return nil, err
	}
	if err := flock(ctx, file, patience); err != nil {
		defer file.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s", ErrBusy, holder(file))
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if !isStill(file, path) { // somebody removed it, and made another one to lock
		file.Close()
		return Acquire(ctx, path, command, patience)
	}
	if writable {
		if err := describe(file, command); err != nil {
			file.Close()
			return nil, err
		}
	}
	return &Lock{file}, nil
}

// IsHeld reports whether anybody has the lock in the file path. It changes nothing.
func IsHeld(path string) (bool, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	err = unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

// open opens a lock file, and nothing that a link leads to: it is written to. One
// that another user has made may be there to be read only, which is enough to lock it
// where file systems are local.
func open(path string) (file *os.File, writable bool, err error) {
	file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
	if errors.Is(err, fs.ErrPermission) {
		if file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0); err == nil {
			return file, false, nil
		}
	}
	return file, err == nil, err
}

// isStill reports whether path names the open file.
func isStill(file *os.File, path string) bool {
	held, err1 := file.Stat()
	named, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(held, named)
}

func flock(ctx context.Context, file *os.File, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pollInterval):
		}
	}
}

// describe writes the holder into the file: one line of tab-separated pid,
// host, start and command.
func describe(file *os.File, command string) error {
	line := fmt.Sprintf("%d\t%s\t%s\t%s\n", os.Getpid(), hostName(), now(), oneLine(command))
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err := file.WriteAt([]byte(line), 0)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return nil // it may be taken to make room
	}
	return err
}

func hostName() string {
	host, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return host
}

func now() string { return time.Now().UTC().Format(time.RFC3339) }

func oneLine(command string) string { return strings.Join(strings.Fields(command), " ") }

// holder reads what describe wrote, perhaps a moment too early.
func holder(file *os.File) string {
	line, err := io.ReadAll(io.NewSectionReader(file, 0, 4096))
	part := strings.SplitN(strings.TrimSpace(string(line)), "\t", 4)
	if err != nil || len(part) != 4 {
		return "held by somebody who has not said who"
	}
	return describedHolder(part[0], part[1], part[2], part[3])
}

func describedHolder(pid, host, since, command string) string {
	return fmt.Sprintf("held by pid %s on %s since %s: %s", pid, host, since, command)
}

// Inherit lets programs executed from now on keep the lock: they have the file
// open too, and it stays locked until the last of them has ended.
func (l *Lock) Inherit() error {
	_, err := unix.FcntlInt(l.file.Fd(), unix.F_SETFD, 0)
	return err
}

// Release gives the lock up.
func (l *Lock) Release() error { return l.file.Close() }

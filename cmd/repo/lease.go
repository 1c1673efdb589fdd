package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
	"pgpipes/lib/lock"
	"pgpipes/lib/store"
	"pgpipes/lib/wait"
)

// leaseSetting is the variable in which a command finds the lease under which it
// runs, as NAME=LEASE.
const leaseSetting = "PGPIPES_LEASE"

var keepOptions struct {
	Ready int `long:"ready-fd" value-name:"N" description:"write a line to the open descriptor N when the lease has been renewed for the first time"`
}

const ready = "ready\n"

// partingPatience is how long is tried to give a lease up that nobody keeps. It
// ends by itself, too.
const partingPatience = lock.DefaultTerm / 4

// takeLease takes a lease and starts a keeper for it, which ends when this
// process, what it becomes and what that starts are gone: all of them have the
// other end of its standard input.
func takeLease(ctx context.Context, p *cli.Process, r *archive.Repo, name, command string, patience time.Duration) error {
	l, err := lock.Take(ctx, r.Store, name, command, lock.DefaultTerm, patience)
	if err != nil {
		return err
	}
	if err := startKeeper(ctx, p, r, name, l); err != nil {
		return errors.Join(fmt.Errorf("lock %s: %w", name, err), giveUp(ctx, l))
	}
	return os.Setenv(leaseSetting, name+"="+l.String())
}

func giveUp(ctx context.Context, l *lock.Lease) error {
	ctx, cancel := context.WithTimeout(ctx, partingPatience)
	defer cancel()
	if err := l.Release(ctx); err != nil {
		return fmt.Errorf("the lock could not be given up, and will be free by itself: %w", err)
	}
	return nil
}

// startKeeper returns when the lease has been renewed once by the keeper, so that
// nothing runs under one that cannot be kept.
func startKeeper(ctx context.Context, p *cli.Process, r *archive.Repo, name string, l *lock.Lease) error {
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close()
	heard, say, err := os.Pipe()
	if err == nil {
		defer heard.Close()
		err = spawnKeeper(p, []string{"--repository=" + r.Location, name, l.String()}, out, say)
		say.Close()
	}
	out.Close()
	if err == nil {
		err = awaitKeeper(ctx, heard)
	}
	if err == nil {
		err = dieWithReader(in)
	}
	return err
}

// spawnKeeper starts one, whose waiting is bounded by the lease alone. What it says
// goes to no standard stream: writing to one that nobody reads would kill it.
func spawnKeeper(p *cli.Process, operands []string, in, say *os.File) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	argv := append([]string{os.Args[0], "keep", "--timeout=0", "--ready-fd=3"}, operands...)
	keeper, err := os.StartProcess("/proc/self/exe", argv, &os.ProcAttr{
		Files: []*os.File{in, null, p.Err, say}, Sys: &unix.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return err
	}
	return keeper.Release()
}

// errNoKeeper says that nobody renews the lease; the keeper itself has said why.
var errNoKeeper = errors.New("nobody keeps the lease: the process that should has ended")

func awaitKeeper(ctx context.Context, heard *os.File) error {
	defer wait.For(ctx, "waiting for the first renewal of the lease")()
	defer context.AfterFunc(ctx, func() { heard.Close() })()
	line, _ := bufio.NewReader(heard).ReadString('\n')
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if line != ready {
		return errNoKeeper
	}
	return nil
}

// dieWithReader has the kernel send SIGTERM to this process, and so to what it
// becomes, when nobody can read from a pipe any more: a keeper cannot end in a way
// that its holder would not hear of. The pipe stays open until all of us are gone.
func dieWithReader(pipe *os.File) error {
	fd, err := unix.Dup(int(pipe.Fd())) // without close-on-exec
	if err != nil {
		return err
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	for _, set := range []struct{ what, to int }{
		{unix.F_SETOWN, os.Getpid()}, {unix.F_SETSIG, int(unix.SIGTERM)}, {unix.F_SETFL, flags | unix.O_ASYNC},
	} {
		if err == nil {
			_, err = unix.FcntlInt(uintptr(fd), set.what, set.to)
		}
	}
	if err != nil {
		return err
	}
	now := []unix.PollFd{{Fd: int32(fd)}}
	for err = unix.EINTR; err == unix.EINTR; {
		_, err = unix.Poll(now, 0)
	}
	if err == nil && now[0].Revents&unix.POLLERR != 0 {
		err = errNoKeeper // it has ended before that
	}
	return err
}

// runKeep keeps a lease until its standard input ends, and gives it up then. When
// it cannot, it has whoever runs under the lease end.
func runKeep(ctx context.Context, _ *cli.Process, operands []string) error {
	if keepOptions.Ready > 0 {
		unix.CloseOnExec(keepOptions.Ready)
	}
	location, err := options.One()
	if err != nil {
		return err
	}
	// Without looking at what is there: that has been done, and this may have to
	// wait until the host lets us in.
	s, err := store.Open(location)
	if err != nil {
		return err
	}
	l, err := lock.Adopt(s, operands[0], operands[1])
	if err != nil {
		return cli.Mistake(err)
	}
	in, err := awaited()
	if err != nil {
		return err
	}
	held, over := context.WithCancel(ctx)
	go func() {
		defer over()
		io.Copy(io.Discard, in)
	}()
	if err = l.Renew(held); err == nil {
		sayReady()
		err = l.Keep(held)
	}
	if held.Err() != nil && ctx.Err() == nil {
		return giveUp(ctx, l)
	}
	endHolders(in)
	if err == nil {
		return ctx.Err() // a signal
	}
	return cli.Failure(fmt.Errorf("lock %s: %w: what runs under it is ended", operands[0], err))
}

// sayReady tells the holder, if one waits for that.
func sayReady() {
	if keepOptions.Ready > 0 {
		say := os.NewFile(uintptr(keepOptions.Ready), "ready")
		io.WriteString(say, ready)
		say.Close()
	}
}

// awaited is standard input in the mode in which it is closed at once, although
// somebody reads from it.
func awaited() (*os.File, error) {
	err := unix.SetNonblock(0, true)
	return os.NewFile(0, "standard input"), err
}

// endHolders sends SIGTERM to all who have the other end of standard input. Our
// parent gets it from the kernel when the pipe is closed, and first: it must not end
// by itself, and well, because what it has started was ended.
func endHolders(in *os.File) {
	parent := os.Getppid()
	pipe, err := os.Readlink("/proc/self/fd/0")
	in.Close()
	if err != nil || !strings.HasPrefix(pipe, "pipe:") {
		return
	}
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() || pid == parent {
			continue
		}
		// Found before it is looked at: the number may be another's at any time.
		if process, err := os.FindProcess(pid); err == nil && hasOpen(dir, pipe) {
			process.Signal(unix.SIGTERM)
		}
	}
}

func hasOpen(dir, file string) bool {
	open, _ := filepath.Glob(dir + "/fd/*")
	for _, link := range open {
		if target, err := os.Readlink(link); err == nil && target == file {
			return true
		}
	}
	return false
}

// runHeld asks whether a lease is still the one under which this command runs.
// The lock of a file alone cannot be lost, only never have been taken.
func runHeld(ctx context.Context, _ *cli.Process, operands []string) error {
	r, err := open(ctx)
	if err != nil {
		return err
	}
	name, text, _ := strings.Cut(os.Getenv(leaseSetting), "=")
	if files, able := r.Store.(lock.Files); able && name == "" {
		return isLocked(ctx, files, operands[0])
	}
	if name != operands[0] {
		return cli.Usagef("this does not run under the lock %s", operands[0])
	}
	l, err := lock.Adopt(r.Store, name, text)
	if err == nil {
		err = l.Held(ctx)
	}
	if errors.Is(err, lock.ErrLost) {
		err = cli.No(fmt.Errorf("lock %s: %w", name, err))
	}
	return err
}

// isLocked is nil while anybody has the lock of a file.
func isLocked(ctx context.Context, s lock.Files, name string) error {
	defer wait.For(ctx, "looking for lock "+name)()
	path, err := s.LockFile(name)
	if err != nil {
		return err
	}
	held, err := lock.IsHeld(path)
	if err == nil && !held {
		err = cli.No(fmt.Errorf("lock %s: nobody has it", name))
	}
	return err
}

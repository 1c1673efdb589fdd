package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
	"pgpipes/lib/lock"
)

// leaseSetting is the variable in which a command finds the lease under which it
// runs, as NAME=LEASE.
const leaseSetting = "PGPIPES_LEASE"

var keepOptions struct {
	Holder int `long:"holder" value-name:"PID" description:"the process that holds the lease"`
}

// takeLease takes a lease and starts a keeper for it, which ends when this
// process, what it becomes and what that starts are gone: all of them have the
// other end of its standard input.
func takeLease(ctx context.Context, p *cli.Process, r *archive.Repo, name, command string) error {
	l, err := lock.Take(ctx, r.Store, name, command, lock.DefaultTerm, lockOptions.Wait)
	if err != nil {
		return err
	}
	if err := startKeeper(p, r, name, l); err != nil {
		return errors.Join(err, l.Release(ctx))
	}
	return os.Setenv(leaseSetting, name+"="+l.String())
}

func startKeeper(p *cli.Process, r *archive.Repo, name string, l *lock.Lease) error {
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close()
	defer in.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	argv := []string{os.Args[0], "keep", "--repository=" + r.Location, "--holder=" + strconv.Itoa(os.Getpid()), name, l.String()}
	keeper, err := os.StartProcess("/proc/self/exe", argv, &os.ProcAttr{
		Env:   slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "PGPIPES_TIMEOUT=") }),
		Files: []*os.File{out, null, p.Err}, Sys: &unix.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return err
	}
	_, err = unix.Dup(int(in.Fd())) // without close-on-exec: open until all of us are gone
	return errors.Join(err, keeper.Release())
}

// runKeep keeps a lease until its standard input ends, and gives it up then.
// When it is lost the holder is told to end.
func runKeep(ctx context.Context, p *cli.Process, operands []string) error {
	r, err := open(ctx)
	if err != nil {
		return err
	}
	l, err := lock.Adopt(r.Store, operands[0], operands[1])
	if err != nil {
		return cli.Mistake(err)
	}
	held, over := context.WithCancel(ctx)
	go func() {
		defer over()
		io.Copy(io.Discard, p.In)
	}()
	if err := l.Keep(held); err != nil {
		unix.Kill(keepOptions.Holder, unix.SIGTERM)
		return cli.Failure(fmt.Errorf("lock %s: %w: process %d is ended", operands[0], err, keepOptions.Holder))
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return l.Release(ctx)
}

// runHeld asks whether a lease is still the one under which this command runs.
// The lock of a file cannot be lost.
func runHeld(ctx context.Context, _ *cli.Process, operands []string) error {
	r, err := open(ctx)
	if err != nil {
		return err
	}
	if _, able := r.Store.(lock.Files); able {
		return nil
	}
	name, text, _ := strings.Cut(os.Getenv(leaseSetting), "=")
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

package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a call may take, and background processes after the last
// one.
const patience = 2 * time.Minute

// children are all processes that descend from this one: an orphan becomes its
// child, so that each is waited for and accounted.
type children struct {
	ended  atomic.Bool // nothing more is started
	ending sync.Mutex  // held while they are ended
}

var errEnded = errors.New("ended by a signal, or because it took too long")

// A usage is what all children have used.
type usage struct {
	cpu    time.Duration
	memory int64 // of the largest, in KB
}

func adopt() (*children, error) {
	c := new(children)
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTERM} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	go func() {
		<-signals
		c.end()
	}()
	return c, os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
}

// shell runs a command as system(3) does, and returns its status as a shell
// shows it. Processes that it leaves behind go on.
func (c *children) shell(command string) (status int, err error) {
	if c.ended.Load() {
		return 0, errEnded
	}
	pid, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", command}, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		return 0, err
	}
	late := time.AfterFunc(patience, c.end)
	defer late.Stop()
	for {
		ended, status, err := wait()
		if err != nil {
			return 0, err
		}
		if ended != pid {
			continue
		}
		if c.ended.Load() {
			return 0, errEnded
		}
		if status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		return status.ExitStatus(), nil
	}
}

// waitAll waits for the background processes, and ends those that go on for
// longer than limit.
func (c *children) waitAll(limit time.Duration) error {
	late := time.AfterFunc(limit, c.end)
	defer late.Stop()
	for {
		if _, _, err := wait(); err == unix.ECHILD {
			break
		} else if err != nil {
			return err
		}
	}
	c.ending.Lock()
	defer c.ending.Unlock()
	if c.ended.Load() {
		return fmt.Errorf("processes in the background were ended: by a signal, or because they went on for %s", limit)
	}
	return nil
}

// end kills all children, and those that become its children by that.
func (c *children) end() {
	c.ending.Lock()
	defer c.ending.Unlock()
	c.ended.Store(true)
	for {
		pids := c.pids()
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (c *children) pids() (pids []int) {
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, word := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// used is what the children that were waited for have used, with their own.
func (c *children) used() usage {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_CHILDREN, &r); err != nil {
		return usage{}
	}
	return usage{time.Duration(r.Utime.Nano() + r.Stime.Nano()), r.Maxrss}
}

// wait waits for any child to end.
func wait() (pid int, status unix.WaitStatus, err error) {
	for {
		pid, err = unix.Wait4(-1, &status, 0, nil)
		if err != unix.EINTR {
			return pid, status, err
		}
	}
}

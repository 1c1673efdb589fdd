// Package filter runs shell commands of the user's as one end of a pipe.
//
// A command is run by sh -c in a process group of its own. What it writes to
// its standard error goes to where the Command says, directly: however much it
// is, nothing waits for it. When the context ends, or the pipe is abandoned,
// all processes of the group are killed.
package filter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pgpipes/lib/wait"
)

// ErrFailed is in the chain of errors that are the command's: it could not be
// started, ended with another status than 0, or did not take part in the
// transfer to its end.
var ErrFailed = errors.New("filter: failed")

// A Command is a shell command.
type Command struct {
	Text   string
	Env    []string // NAME=value, in addition to the environment
	Stderr *os.File // nil is /dev/null
}

// failure is an ErrFailed in words of its own.
type failure string

func (f failure) Error() string { return string(f) }
func (f failure) Unwrap() error { return ErrFailed }

func failed(format string, args ...any) error { return failure(fmt.Sprintf(format, args...)) }

// Misbehaved is the error for a command that does not print what it should.
func (c Command) Misbehaved(how string) error { return failed("%s: %s", c.Text, how) }

// pipeSize is the size of pipes in bytes, where the system grants it: fewer and
// larger turns.
const pipeSize = 1 << 20

// ending is how long a process left behind may still print when sh has ended.
const ending = 5 * time.Second

// running is a command that has been started.
type running struct {
	text   string
	cmd    *exec.Cmd
	ended  chan struct{} // closed when sh has ended
	status error         // then: how
	moving *wait.Operation
	unhook func() bool

	mu     sync.Mutex
	killed bool
	reaped bool // its process id may belong to another by now
}

// start starts the command with these standard streams. With the end of ctx all
// its processes go. atEnd is called when it has ended.
func (c Command) start(ctx context.Context, stdin, stdout *os.File, atEnd func()) (*running, error) {
	cmd := exec.Command("sh", "-c", c.Text)
	cmd.Env = append(cmd.Environ(), c.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdout = stdout
	if stdin != nil {
		cmd.Stdin = stdin
	}
	if c.Stderr != nil {
		cmd.Stderr = c.Stderr
	}
	if err := cmd.Start(); err != nil {
		return nil, failed("%s: could not be started: %v", c.Text, err)
	}
	r := &running{text: c.Text, cmd: cmd, ended: make(chan struct{})}
	r.moving = wait.On(ctx, "the command "+c.Text)
	r.unhook = context.AfterFunc(ctx, r.kill)
	go func() {
		r.reap()
		atEnd()
		close(r.ended)
	}()
	return r, nil
}

// kill kills all processes of the command.
func (r *running) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.killed = true
	if !r.reaped {
		_ = unix.Kill(-r.cmd.Process.Pid, unix.SIGKILL)
	}
}

// reap waits for the end of sh. While that is not yet reaped nobody else can
// have its process group, so what it has left in there can be killed.
func (r *running) reap() {
	for {
		err := unix.Waitid(unix.P_PID, r.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.killed {
		_ = unix.Kill(-r.cmd.Process.Pid, unix.SIGKILL)
	}
	r.status = r.cmd.Wait()
	r.reaped = true
}

// wait waits for the end of the command and says how it ended.
func (r *running) wait(ctx context.Context) error {
	r.moving.Begin()
	<-r.ended
	r.moving.End()
	r.unhook()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case r.status == nil:
		return nil
	case errors.As(r.status, &exit):
		return failed("%s: ended with %s", r.text, ended(exit.ProcessState))
	}
	return failed("%s: %v", r.text, r.status)
}

// ended says how a process ended.
func ended(s *os.ProcessState) string {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return "signal " + w.Signal().String()
	}
	return fmt.Sprintf("status %d", s.ExitCode())
}

// pipe makes a pipe, as large as the system grants.
func pipe() (r, w *os.File, err error) {
	if r, w, err = os.Pipe(); err == nil {
		control(w, func(fd int) { _, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeSize) })
	}
	return r, w, err
}

// control leaves a file as it is, where Fd would make it one that blocks.
func control(f *os.File, do func(fd int)) {
	if c, err := f.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { do(int(fd)) })
	}
}

// Package tracer runs a program under ptrace(2) and kills it at one of its system
// calls, or makes that call fail.
package tracer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An Interruption is what happens to a program at one of its system calls: the
// nth of a number, counted over all its threads, but not over the programs it
// starts. (strace counts by thread, and the runtime of Go moves a program from
// one to another as it likes.) The zero value is none.
type Interruption struct {
	Call  uint64 // its number
	Nth   int
	Errno unix.Errno // the call fails with it; 0: the program is killed instead
}

// A Result is how a program ended.
type Result struct {
	Status int            // 128+n for signal n, as the shell has it
	Calls  map[uint64]int // how many of each system call it began
	Hit    bool           // the interruption happened
}

// Run runs a command to its end, as its own Run does, in a process group of its
// own. It counts from the last of so many programs that launch each other: with
// 1, what the command executes instead of itself.
func Run(cmd *exec.Cmd, launchers int, at Interruption) (Result, error) {
	type outcome struct {
		Result
		err error
	}
	done := make(chan outcome)
	go func() {
		runtime.LockOSThread() // ptrace is between threads
		defer runtime.UnlockOSThread()
		res, err := run(cmd, launchers, at)
		done <- outcome{res, err}
	}()
	o := <-done
	return o.Result, o.err
}

func run(cmd *exec.Cmd, launchers int, at Interruption) (Result, error) {
	attr := syscall.SysProcAttr{}
	if cmd.SysProcAttr != nil {
		attr = *cmd.SysProcAttr
	}
	attr.Ptrace, attr.Setpgid, attr.Pdeathsig = true, true, syscall.SIGKILL
	cmd.SysProcAttr = &attr
	if err := cmd.Start(); err != nil {
		return Result{}, err
	}
	t := tracer{pid: cmd.Process.Pid, at: at, skip: launchers, failing: map[int]bool{}, known: map[int]bool{}}
	t.Calls = map[uint64]int{}
	err := t.follow()
	// The program is reaped; what is still to come is what it said.
	if werr := cmd.Wait(); !errors.Is(werr, unix.ECHILD) {
		err = errors.Join(err, werr)
	}
	return t.Result, err
}

// A tracer follows all threads of one program.
type tracer struct {
	pid     int
	at      Interruption
	skip    int          // programs executed before the one that counts
	failing map[int]bool // threads in a call that is made to fail
	known   map[int]bool // threads that have stopped once
	Result
}

const traceOptions = unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_EXITKILL

func (t *tracer) follow() error {
	var ws unix.WaitStatus
	if _, err := wait(t.pid, &ws); err != nil {
		return err
	}
	t.known[t.pid] = true
	if err := unix.PtraceSetOptions(t.pid, traceOptions); err != nil {
		return err
	}
	tid, deliver := t.pid, unix.Signal(0)
	for {
		resume := unix.PtraceSyscall
		if t.skip > 0 {
			resume = unix.PtraceCont
		}
		// A thread that was killed meanwhile cannot go on.
		if err := resume(tid, int(deliver)); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
		var err error
		for {
			if tid, err = wait(-t.pid, &ws); err != nil {
				return err
			}
			if ws.Stopped() {
				break
			}
			if tid == t.pid {
				t.Status = ws.ExitStatus()
				if ws.Signaled() {
					t.Status = 128 + int(ws.Signal())
				}
				return nil
			}
		}
		if deliver, err = t.stopped(tid, ws); err != nil {
			return err
		}
	}
}

// wait waits for a child of this thread, or of a group if pid is negative.
func wait(pid int, ws *unix.WaitStatus) (int, error) {
	for {
		got, err := unix.Wait4(pid, ws, unix.WALL|unix.WNOTHREAD, nil)
		if !errors.Is(err, unix.EINTR) {
			return got, err
		}
	}
}

// stopped looks at why a thread has stopped and returns the signal to give it.
func (t *tracer) stopped(tid int, ws unix.WaitStatus) (unix.Signal, error) {
	first := !t.known[tid]
	t.known[tid] = true
	switch signal := ws.StopSignal(); {
	case signal == unix.SIGTRAP|0x80:
		return 0, t.systemCall(tid)
	case signal == unix.SIGTRAP && ws.TrapCause() > 0:
		if ws.TrapCause() == unix.PTRACE_EVENT_EXEC {
			t.skip--
		}
		return 0, nil
	case signal == unix.SIGSTOP && first: // how a new thread begins
		return 0, nil
	default:
		return signal, nil
	}
}

func (t *tracer) systemCall(tid int) error {
	const (
		entry = 1
		exit  = 2
	)
	kind, number, err := callInfo(tid)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	switch {
	case kind == entry:
		t.Calls[number]++
		if number != t.at.Call || t.Calls[number] != t.at.Nth {
			return nil
		}
		t.Hit = true
		if t.at.Errno == 0 {
			return unix.Kill(t.pid, unix.SIGKILL)
		}
		t.failing[tid] = true
		return setRegisters(tid, func(regs *unix.PtraceRegs) { regs.Orig_rax = ^uint64(0) }) // no such call
	case kind == exit && t.failing[tid]:
		delete(t.failing, tid)
		return setRegisters(tid, func(regs *unix.PtraceRegs) { regs.Rax = -uint64(t.at.Errno) })
	}
	return nil
}

// callInfo asks for struct ptrace_syscall_info.
func callInfo(tid int) (kind byte, number uint64, err error) {
	const getSyscallInfo = 0x420e
	var info [88]byte
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, getSyscallInfo, uintptr(tid), uintptr(len(info)), uintptr(unsafe.Pointer(&info[0])), 0, 0)
	if errno != 0 {
		return 0, 0, fmt.Errorf("ptrace: %w", errno)
	}
	return info[0], binary.LittleEndian.Uint64(info[24:]), nil
}

func setRegisters(tid int, change func(*unix.PtraceRegs)) error {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return err
	}
	change(&regs)
	return unix.PtraceSetRegs(tid, &regs)
}

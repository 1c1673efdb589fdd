package crash

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An interruption is what happens to a program at one of its system calls: the
// nth of a number, counted over all threads. (strace counts by thread, and the
// runtime of Go moves a program from one to another as it likes.)
type interruption struct {
	number uint64
	nth    int
	errno  unix.Errno // the call fails with it; 0: the program is killed instead
}

// A result is how a traced program ended.
type result struct {
	status int
	said   string
	calls  map[uint64]int // how many of each system call it began
	hit    bool           // the interruption happened
}

// trace runs the program under ptrace(2) to its end.
func (r run) trace(at interruption) (result, error) {
	type outcome struct {
		result
		err error
	}
	done := make(chan outcome)
	go func() {
		runtime.LockOSThread() // ptrace is between threads
		defer runtime.UnlockOSThread()
		res, err := r.traced(at)
		done <- outcome{res, err}
	}()
	o := <-done
	return o.result, o.err
}

func (r run) traced(at interruption) (result, error) {
	cmd := r.command()
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	said, out, err := os.Pipe() // takes more than a program says
	if err != nil {
		return result{}, err
	}
	defer said.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if r.stdin != "" {
		file, err := os.Open(r.stdin)
		if err != nil {
			return result{}, errors.Join(err, out.Close())
		}
		defer file.Close()
		cmd.Stdin = file
	}
	err = errors.Join(cmd.Start(), out.Close())
	if err != nil {
		return result{}, err
	}
	t := tracer{pid: cmd.Process.Pid, at: at, failing: map[int]bool{}, known: map[int]bool{}}
	t.calls = map[uint64]int{}
	if len(r.without) > 0 { // the launcher comes first
		t.skip = 1
	}
	err = t.follow()
	_ = cmd.Process.Release()
	text, rerr := io.ReadAll(said)
	t.said = string(text)
	return t.result, errors.Join(err, rerr)
}

// A tracer follows all threads of one program.
type tracer struct {
	pid     int
	at      interruption
	skip    int          // programs executed before the one that counts
	failing map[int]bool // threads in a call that is made to fail
	known   map[int]bool // threads that have stopped once
	result
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
				t.status = ws.ExitStatus()
				if ws.Signaled() {
					t.status = 128 + int(ws.Signal())
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
		t.calls[number]++
		if number != t.at.number || t.calls[number] != t.at.nth {
			return nil
		}
		t.hit = true
		if t.at.errno == 0 {
			return unix.Kill(t.pid, unix.SIGKILL)
		}
		t.failing[tid] = true
		return setRegisters(tid, func(regs *unix.PtraceRegs) { regs.Orig_rax = ^uint64(0) }) // no such call
	case kind == exit && t.failing[tid]:
		delete(t.failing, tid)
		return setRegisters(tid, func(regs *unix.PtraceRegs) { regs.Rax = -uint64(t.at.errno) })
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

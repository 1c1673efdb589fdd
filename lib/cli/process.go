package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"unicode"

	"golang.org/x/sys/unix"

	"pgpipes/lib/wait"
)

// A Process is what a program may touch of the world outside its operands.
type Process struct {
	name    string
	verbose bool
	dog     *watchdog
	signals *signals
	closing *wait.Operation         // the end of standard output
	monitor atomic.Pointer[Command] // the command, if a monitoring system runs it

	In  io.Reader // standard input
	Out io.Writer // standard output, for data; every write is checked
	// Text is standard output for lines. Its errors show when the program ends.
	Text *bufio.Writer
	// Err is standard error for commands of the user's, which write to it
	// themselves.
	Err *os.File
}

// Being watched hides ReadFrom and WriteTo of os.File, with which io.Copy
// falls back to small buffers on pipes.
func newProcess(name string) *Process {
	dog := newWatchdog()
	stream := func(what string) *wait.Operation { return dog.watch.Operation(wait.Stream, what) }
	in := stream("reading standard input").Reader(os.Stdin)
	out := stream("writing standard output").Writer(os.Stdout)
	return &Process{
		name: name, dog: dog, closing: stream("closing standard output"),
		In: in, Out: out, Text: bufio.NewWriter(out), Err: os.Stderr,
	}
}

// finish makes sure that what was written has arrived.
func (p *Process) finish() error {
	if err := p.Text.Flush(); err != nil {
		return err
	}
	p.closing.Begin()
	defer p.closing.End()
	err := os.Stdout.Close()
	if errors.Is(err, os.ErrClosed) || errors.Is(err, unix.EBADF) {
		return nil // never had a standard output, and wrote nothing
	}
	return err
}

// report prints an error and returns the exit status for it.
func (p *Process) report(err error, failure int) int {
	if err == nil {
		return statusDone
	}
	if severity, told := err.(Severity); told {
		return int(severity)
	}
	p.Warnf("%v", err)
	var way interface{ Hint() string }
	if errors.As(err, &way) && way.Hint() != "" {
		p.Warnf("hint: %s", way.Hint())
	}
	if told := (unknownError{}); errors.As(err, &told) {
		return int(told.severity)
	}
	code := status(err)
	if failure != 0 && code != statusNo {
		code = failure
	}
	return p.failure(code)
}

// Warnf prints one line for people, however many there are in the text, and
// nothing that a terminal would obey: other hosts have a say in it.
func (p *Process) Warnf(format string, args ...any) {
	text := strings.TrimSpace(fmt.Sprintf(format, args...))
	text = strings.Map(harmless, strings.ReplaceAll(text, "\n", "; "))
	said := p.dog.watch.Operation(wait.Stream, "writing standard error")
	said.Begin()
	defer said.End()
	fmt.Fprintf(os.Stderr, "%s: %s\n", p.name, text)
}

func harmless(r rune) rune {
	if unicode.IsControl(r) && r != '\t' {
		return '?'
	}
	return r
}

// Verbosef prints one line if that was asked for.
func (p *Process) Verbosef(format string, args ...any) {
	if p.verbose {
		p.Warnf(format, args...)
	}
}

// OutIsTerminal reports whether standard output is read by a person.
func (p *Process) OutIsTerminal() bool { return isTerminal(os.Stdout) }

// Remarkf prints one line if that was asked for, or if somebody is watching.
func (p *Process) Remarkf(format string, args ...any) {
	if p.verbose || isTerminal(os.Stderr) {
		p.Warnf(format, args...)
	}
}

// CheckOutput is an error if standard output is a terminal or closed, for a program
// about to write binary data there.
func (p *Process) CheckOutput() error {
	if isTerminal(os.Stdout) {
		return Usagef("standard output is a terminal: send the data to a file or a pipe")
	}
	return p.RefuseClosedOutput()
}

// RefuseClosedOutput is an error if standard output is closed, for a program whose
// data are nowhere else.
func (p *Process) RefuseClosedOutput() error {
	if isClosed(os.Stdout) {
		return Hint(Usagef("standard output is closed, or /dev/null opened for reading and writing"), "send the data to a file or a pipe, or >/dev/null")
	}
	return nil
}

// pipeSize is the largest pipe that needs no privilege, in bytes.
const pipeSize = 1 << 20

// WidenPipes lets the stages of a pipeline run more apart from each other. What
// is no pipe is left as it is.
func (p *Process) WidenPipes() {
	for _, f := range []*os.File{os.Stdin, os.Stdout} {
		_, _ = unix.FcntlInt(f.Fd(), unix.F_SETPIPE_SZ, pipeSize)
	}
}

// RefuseTerminalInput is an error if standard input is a terminal, for a
// program about to read binary data from there.
func (p *Process) RefuseTerminalInput() error {
	if isTerminal(os.Stdin) {
		return Usagef("standard input is a terminal: feed the data from a file or a pipe")
	}
	return nil
}

// RefuseClosedInput is an error if standard input is closed, for a program to which
// no data are as good as any.
func (p *Process) RefuseClosedInput() error {
	if isClosed(os.Stdin) {
		return Hint(Usagef("standard input is closed, or /dev/null opened for reading and writing"), "feed the data from a file or a pipe, or </dev/null")
	}
	return nil
}

// Exec replaces the process by a program found on PATH. A signal ends the one or the
// other.
func (p *Process) Exec(path string, argv []string) error {
	if err := p.Text.Flush(); err != nil {
		return err
	}
	p.signals.letThrough()
	return unix.Exec(path, argv, os.Environ())
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// isClosed reports whether a standard stream was closed when the process began. Then
// the runtime has opened /dev/null in its place, for reading and writing
// (runtime/fds_unix.go:checkfds). Shells open it for one of them; some libraries that
// start programs do not, and cannot be told from that.
func isClosed(f *os.File) bool {
	var s unix.Stat_t
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_ACCMODE != unix.O_RDWR || unix.Fstat(int(f.Fd()), &s) != nil {
		return false
	}
	return s.Mode&unix.S_IFMT == unix.S_IFCHR && s.Rdev == unix.Mkdev(1, 3)
}

package filter

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// maxOutput is how much of what a command prints is kept, in bytes.
const maxOutput = 64 << 10

// A Writer is the standard input of a command. Finish or Abandon it.
type Writer struct {
	*running
	ctx    context.Context
	in     *os.File
	unread int // bytes that were still in the pipe when the command ended
	output chan []byte
}

// Writer starts the command.
func (c Command) Writer(ctx context.Context) (*Writer, error) {
	theirs, ours, err := pipe()
	if err != nil {
		return nil, err
	}
	printed, out, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, theirs.Close(), ours.Close())
	}
	w := &Writer{ctx: ctx, in: ours, output: make(chan []byte, 1)}
	// Our copy of the reading end stays open until the command has ended, to see
	// whether it has read everything; closing it then tells a Write.
	w.running, err = c.start(ctx, theirs, out, func() {
		control(theirs, func(fd int) { w.unread, _ = unix.IoctlGetInt(fd, unix.TIOCINQ) })
		theirs.Close()
		_ = ours.SetWriteDeadline(time.Now()) // a process left behind may hold the reading end
	})
	out.Close()
	if err != nil {
		return nil, errors.Join(err, theirs.Close(), ours.Close(), printed.Close())
	}
	go w.gather(printed)
	return w, nil
}

// gather keeps the beginning of what the command prints, and drains the rest.
func (w *Writer) gather(printed *os.File) {
	defer printed.Close()
	go func() { // a process left behind may hold the other end
		<-w.ended
		_ = printed.SetReadDeadline(time.Now().Add(ending))
	}()
	b, err := io.ReadAll(io.LimitReader(printed, maxOutput))
	if err == nil {
		_, _ = io.Copy(io.Discard, printed)
	}
	w.output <- b
}

// Write hands bytes to the command. When that has ended before it had read
// everything, the error is how.
func (w *Writer) Write(p []byte) (int, error) {
	w.moving.Begin()
	n, err := w.in.Write(p)
	w.moving.End()
	if err == nil {
		return n, nil
	}
	w.in.Close()
	if errors.Is(err, unix.EPIPE) || errors.Is(err, os.ErrDeadlineExceeded) {
		if err = w.wait(w.ctx); err == nil {
			err = failed("%s: ended before it had read everything", w.text)
		}
	}
	return n, err
}

// Finish ends the input and waits for the command. It returns what the command
// has printed; an error is in the chain of [ErrFailed] or is the context's.
func (w *Writer) Finish() (printed []byte, err error) {
	w.in.Close()
	err = w.wait(w.ctx)
	printed = <-w.output
	switch {
	case err != nil:
		return nil, err
	case w.unread > 0:
		return nil, failed("%s: ended before it had read everything", w.text)
	case len(printed) == maxOutput:
		return nil, failed("%s: prints too much", w.text)
	}
	return bytes.TrimRight(printed, "\n"), nil
}

// Abandon kills the command and forgets what it has done. It may follow
// anything.
func (w *Writer) Abandon() {
	w.kill()
	w.in.Close()
	<-w.ended
	w.unhook()
}

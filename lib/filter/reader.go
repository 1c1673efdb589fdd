package filter

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// A Reader is the standard output of a command, which reads from /dev/null.
// Finish or Abandon it.
type Reader struct {
	*running
	ctx context.Context
	out *os.File
}

// Reader starts the command.
func (c Command) Reader(ctx context.Context) (*Reader, error) {
	ours, theirs, err := pipe()
	if err != nil {
		return nil, err
	}
	r := &Reader{ctx: ctx, out: ours}
	r.running, err = c.start(ctx, nil, theirs, r.bound)
	theirs.Close()
	if err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	return r, nil
}

// Read takes bytes from the command. Its end of file does not say that all is
// well: Finish does.
func (r *Reader) Read(p []byte) (int, error) {
	r.moving.Begin()
	defer r.moving.End()
	select {
	case <-r.ended:
		r.bound()
	default:
	}
	n, err := r.out.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = failed("%s: a process that it has left behind holds its output", r.text)
	}
	return n, err
}

// bound is for when sh has ended: a process left behind may hold the other end.
func (r *Reader) bound() { _ = r.out.SetReadDeadline(time.Now().Add(ending)) }

// Finish waits for the command, whose output must have been read to its end. An
// error is in the chain of [ErrFailed] or is the context's.
func (r *Reader) Finish() error {
	n, err := io.Copy(io.Discard, io.LimitReader(r, 1))
	r.out.Close()
	if err := cmp.Or(r.wait(r.ctx), err); err != nil {
		return err
	}
	if n > 0 {
		return failed("%s: prints more than was to be read", r.text)
	}
	return nil
}

// Abandon kills the command. It may follow anything.
func (r *Reader) Abandon() {
	r.kill()
	r.out.Close()
	<-r.ended
	r.unhook()
}

package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/pkg/sftp"

	"pgpipes/lib/wait"
)

// Get implements Store. An object is read with many requests at once, a range in
// pieces that are. What is small takes three round trips.
func (s *SFTP) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	d := &download{store: s, ctx: ctx, key: key, Operation: wait.On(ctx, s.doing("reading", key))}
	var size int64
	err := s.do(ctx, s.doing("reading", key), func(now *session) error {
		// A named pipe must not be opened, which would wait for its other end.
		info, err := now.Stat(s.path(key))
		if err != nil {
			return s.absent(now, key, err)
		}
		if !info.Mode().IsRegular() {
			return named(s.path(key), errors.New("not a plain file"))
		}
		d.file, err = now.Open(s.path(key))
		if err != nil {
			return s.absent(now, key, err)
		}
		now.widen()
		d.session, size = now, info.Size()
		return nil
	})
	if err != nil {
		return nil, err
	}
	d.left = max(size-offset, 0)
	if length >= 0 {
		d.left = min(d.left, length)
	}
	d.stop = context.AfterFunc(ctx, d.breakOff)
	d.begin(offset, d.left == size)
	return d, nil
}

// A download is an object being read.
type download struct {
	store *SFTP
	*session
	ctx  context.Context
	key  string
	file *sftp.File
	from io.Reader
	left int64          // bytes to come
	pipe *io.PipeReader // nil if pieces are read
	done chan struct{}  // closed when nothing is read any more
	stop func() bool
	*wait.Operation
}

// begin starts reading ahead if the whole of a file is wanted that is not small:
// of that something comes as long as the server gives something.
func (d *download) begin(offset int64, whole bool) {
	if !whole || d.left <= smallSize {
		d.from = &pieces{file: d.file, offset: offset, end: offset + d.left, whole: whole}
		return
	}
	out, in := io.Pipe()
	d.from, d.pipe, d.done = out, out, make(chan struct{})
	go func() {
		defer close(d.done)
		_, err := d.file.WriteTo(in)
		in.CloseWithError(err)
	}()
}

// Read implements io.Reader. What ends before all bytes have come was cut,
// whatever the server says; only the count tells, as the library goes on behind
// what a short answer has left out.
func (d *download) Read(p []byte) (int, error) {
	d.Begin()
	defer d.End()
	if d.left == 0 {
		return 0, d.end()
	}
	if int64(len(p)) > d.left {
		p = p[:d.left]
	}
	n, err := d.from.Read(p)
	d.left -= int64(n)
	if err == nil || err == io.EOF && d.left == 0 {
		return n, nil
	}
	return n, d.failed(err)
}

// end is io.EOF if that is what follows the last byte. Only who reads the whole
// of an object hears of more.
func (d *download) end() error {
	n, err := d.from.Read(make([]byte, 1))
	if n > 0 {
		err = errMore
	}
	if err == io.EOF {
		return err
	}
	return d.failed(err)
}

func (d *download) failed(err error) error {
	what := d.store.doing("reading", d.key)
	switch {
	case d.ctx.Err() != nil:
		return context.Cause(d.ctx)
	case err == io.EOF:
		return d.heard.explain(fmt.Errorf("%s: %d bytes have not come: %w", what, d.left, io.ErrUnexpectedEOF))
	case isLost(err):
		return d.explain(what, err)
	}
	return d.heard.explain(fmt.Errorf("%s: %w", what, err))
}

// Close ends the reading, wherever it is.
func (d *download) Close() error {
	d.Begin()
	defer d.End()
	defer d.stop()
	if d.pipe != nil {
		d.pipe.Close()
		<-d.done
	}
	d.leave(d.file)
	return nil
}

// smallSize is up to what size an object is asked for at once: a large piece. What
// is larger the library asks for in many; less would go in one after the other.
const smallSize = largePiece

// pieces reads a range, or what is small.
type pieces struct {
	file        *sftp.File
	offset, end int64
	whole       bool // nothing may be behind the end, which is asked with the last piece
	behind      error
	buffer      []byte
	here        []byte // of the buffer, not yet given away
}

func (r *pieces) Read(p []byte) (int, error) {
	if len(r.here) == 0 {
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.here)
	r.here = r.here[n:]
	return n, nil
}

// next asks for a piece.
func (r *pieces) next() error {
	want := int(min(r.end-r.offset, window))
	if want == 0 && r.behind != nil {
		return r.behind
	}
	if cap(r.buffer) < want {
		r.buffer = make([]byte, want)
	}
	var asking sync.WaitGroup
	if r.offset+int64(want) == r.end {
		asking.Go(func() { r.behind = r.look() })
	}
	n, err := 0, error(nil)
	if want > 0 {
		n, err = r.file.ReadAt(r.buffer[:want], r.offset)
	}
	asking.Wait()
	if n == 0 {
		return cmp.Or(err, r.behind)
	}
	r.here, r.offset = r.buffer[:n], r.offset+int64(n)
	return nil
}

// look says what is behind the end.
func (r *pieces) look() error {
	if !r.whole {
		return io.EOF
	}
	n, err := r.file.ReadAt(make([]byte, 1), r.end)
	if n > 0 {
		return errMore
	}
	return err
}

var errMore = errors.New("more has come than the server said there is")

package store

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/pkg/sftp"

	"pgpipes/lib/wait"
)

// Get implements Store. The whole of an object is read with many requests at
// once, a range in pieces that are.
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

// begin starts reading ahead if the whole file is wanted.
func (d *download) begin(offset int64, whole bool) {
	if !whole {
		d.from = &pieces{file: d.file, offset: offset, end: offset + d.left}
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
// whatever the server says.
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
	if d.pipe == nil {
		return io.EOF
	}
	n, err := d.from.Read(make([]byte, 1))
	switch {
	case n > 0:
		return fmt.Errorf("%s: more has come than the server said there is", d.store.doing("reading", d.key))
	case err == io.EOF:
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
	return d.file.Close()
}

// pieceSize is how much of a range is asked for at once.
const pieceSize = concurrency * 32 << 10

// pieces reads a range.
type pieces struct {
	file        *sftp.File
	offset, end int64
	buffer      []byte
	here        []byte // of the buffer, not yet given away
}

func (r *pieces) Read(p []byte) (int, error) {
	if len(r.here) == 0 {
		if r.offset >= r.end {
			return 0, io.EOF
		}
		want := int(min(r.end-r.offset, pieceSize))
		if cap(r.buffer) < want {
			r.buffer = make([]byte, want)
		}
		n, err := r.file.ReadAt(r.buffer[:want], r.offset)
		if n == 0 {
			return 0, err
		}
		r.here, r.offset = r.buffer[:n], r.offset+int64(n)
	}
	n := copy(p, r.here)
	r.here = r.here[n:]
	return n, nil
}

package codec

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

// A decoder hands out the content of a stream piece by piece. A piece is
// valid until the next call and never empty; at the end the error is io.EOF.
// close may be called at any time, also by another goroutine.
type decoder interface {
	next() ([]byte, error)
	close()
}

// A Skipper reads the content of a stream, or passes over some of it.
type Skipper interface {
	io.ReadCloser
	// Skip passes over n bytes of content, or all there is. Frames of zstd that
	// lie in them wholly are not decoded, so that nobody knows whether these are
	// damaged; a cut is still found at the end.
	Skip(n int64) error
}

// NewReader returns a reader of the content of r, whose format it recognises
// by the first bytes; it waits for those. Up to so many jobs (0 for all cores)
// decode frames of zstd at the same time, if these are of 8 MiB or less and
// tell their size, and r is read ahead; a single one is done by who reads.
//
// An input that begins like none of the formats gives ErrFormat, an empty one
// or anything wrong later ErrCorrupt. An error of r is returned as it is.
//
// Close waits for the jobs, but not for a Read that is blocked in r; it does
// not close r. It is needed only if the content is not read to the end, and
// then it says nothing about the rest. The reader implements io.WriterTo.
func NewReader(r io.Reader, jobs int) (io.ReadCloser, error) {
	jobs, err := cores(jobs)
	if err != nil {
		return nil, err
	}
	src := newSource(r)
	f, err := src.detect()
	if err != nil {
		return nil, err
	}
	return &reader{dec: newDecoder(src, f, jobs)}, nil
}

// NewReaderFormat is NewReader for an input whose format is known, for example
// by its name. If the first bytes are not of this format the input is damaged:
// ErrCorrupt. None reads any bytes as they are.
func NewReaderFormat(r io.Reader, f Format, jobs int) (io.ReadCloser, error) {
	if _, err := ByName(f.Name); err != nil {
		return nil, err
	}
	jobs, err := cores(jobs)
	if err != nil {
		return nil, err
	}
	src := newSource(r)
	if f != None {
		found, err := src.detect()
		if err == nil && found != f {
			err = fmt.Errorf("%w: is %s, not %s", ErrCorrupt, found, f)
		}
		if errors.Is(err, ErrFormat) {
			err = corrupt(f, err)
		}
		if err != nil {
			return nil, err
		}
	}
	return &reader{dec: newDecoder(src, f, jobs)}, nil
}

// NewReaderAny is NewReader for an input that need not be compressed: one that
// begins like none of the formats, or is empty, is passed as it is. With one job
// no frame is decoded that is skipped.
func NewReaderAny(r io.Reader, jobs int) (Skipper, error) {
	jobs, err := cores(jobs)
	if err != nil {
		return nil, err
	}
	src := newSource(r)
	f, err := src.detect()
	if _, end := src.Peek(1); errors.Is(err, ErrFormat) || end == io.EOF {
		return bareReader{src}, nil
	}
	if err != nil {
		return nil, err
	}
	return &reader{dec: newDecoder(src, f, jobs)}, nil
}

// A bareReader reads what is not compressed.
type bareReader struct{ *source }

func (b bareReader) Skip(n int64) error {
	if _, err := io.CopyN(io.Discard, b.source, n); err != io.EOF {
		return err
	}
	return nil
}

func (bareReader) Close() error { return nil }

func newDecoder(src *source, f Format, jobs int) decoder {
	switch f {
	case Zstd:
		return newZstdDecoder(src, jobs)
	case Gzip:
		return newGzipDecoder(src)
	case Xz:
		return newXzDecoder(src)
	case Lz4:
		return newLz4Decoder(src)
	}
	return &serialDecoder{src: src, format: None, part: src}
}

// A reader makes an io.Reader of a decoder.
type reader struct {
	dec    decoder
	rest   []byte // of the piece at hand
	err    error
	closed atomic.Bool
}

// fill makes sure that there is a rest.
func (r *reader) fill() error {
	if r.closed.Load() {
		return errClosed
	}
	if len(r.rest) == 0 && r.err == nil {
		r.rest, r.err = r.dec.next()
	}
	if len(r.rest) > 0 {
		return nil
	}
	return r.err
}

func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := r.fill(); err != nil {
		return 0, err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// WriteTo writes the content to w, whole frames at a time.
func (r *reader) WriteTo(w io.Writer) (int64, error) {
	var written int64
	for {
		err := r.fill()
		if err == io.EOF {
			return written, nil
		}
		if err != nil {
			return written, err
		}
		n, err := w.Write(r.rest)
		written += int64(n)
		r.rest = r.rest[n:]
		if err == nil && len(r.rest) > 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return written, err
		}
	}
}

// Skip implements Skipper.
func (r *reader) Skip(n int64) error {
	if d, able := r.dec.(*zstdDecoder); able && n > int64(len(r.rest)) {
		d.pass(n - int64(len(r.rest)))
		r.rest = nil
		return nil
	}
	for n > 0 {
		err := r.fill()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		passed := min(n, int64(len(r.rest)))
		r.rest = r.rest[passed:]
		n -= passed
	}
	return nil
}

// Close ends the use of the reader.
func (r *reader) Close() error {
	r.closed.Store(true)
	r.dec.close()
	return nil
}

// A serialDecoder reads frames one after another in the caller's goroutine.
type serialDecoder struct {
	src    *source
	format Format
	open   func() (io.Reader, error) // begins the next frame
	part   io.Reader                 // the frame at hand; nil before its begin
	buf    []byte
	err    error
}

func (d *serialDecoder) next() ([]byte, error) {
	if d.buf == nil {
		d.buf = make([]byte, bufSize)
	}
	n := 0
	for n == 0 && d.err == nil {
		if d.part == nil {
			d.err = d.begin()
			continue
		}
		var err error
		n, err = fill(d.part, d.buf)
		if err == io.EOF {
			d.part = nil
		} else if err != nil {
			d.err = d.src.fault(d.format, err)
		}
	}
	if n > 0 {
		return d.buf[:n], nil
	}
	return nil, d.err
}

// begin opens the next frame. It returns io.EOF if there is none.
func (d *serialDecoder) begin() error {
	more, err := d.src.more(d.format)
	if err == nil && !more {
		return io.EOF
	}
	if err == nil {
		d.part, err = d.open()
	}
	if err != nil {
		return d.src.fault(d.format, err)
	}
	return nil
}

func (d *serialDecoder) close() {}

// fill reads until buf is full or r has no more.
func fill(r io.Reader, buf []byte) (int, error) {
	n, err, empty := 0, error(nil), 0
	for n < len(buf) && err == nil {
		var got int
		got, err = r.Read(buf[n:])
		n += got
		if empty++; got > 0 {
			empty = 0
		}
		if err == nil && empty == 100 {
			err = io.ErrNoProgress
		}
	}
	return n, err
}

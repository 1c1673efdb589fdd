package codec

import (
	"bytes"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// maxParallel is the size of the largest frames that are decoded in parallel,
// for which both forms must be held in memory.
const maxParallel = 8 << 20

// A zstdDecoder decodes small frames in parallel and others as they come. The
// input is read only by the caller's goroutine, so that no goroutine can hang
// in it.
type zstdDecoder struct {
	src   *source
	crew  *crew
	table seekCheck
	last  *task // its content was handed out last

	whole  *zstd.Decoder // for frames that are not decoded in parallel
	stream *zstdFrame    // the one at hand, or nil
	plain  int           // how much it held so far
	buf    []byte

	passing int64 // bytes of content to be passed over before the next piece
	queued  int64 // bytes of content that the crew has

	err error // to be reported after what is in the queue
}

func newZstdDecoder(src *source, jobs int) decoder {
	z := &zstdDecoder{src: src, crew: newCrew(jobs, zstdUnpacker)}
	if jobs == 1 {
		z.crew.withoutCrew()
	}
	return z
}

// newZstdLibrary makes a decoder of the library. One that works alone is
// faster than one that shares the work on a stream between goroutines.
func newZstdLibrary() (*zstd.Decoder, error) {
	return zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderMaxWindow(maxZstdWindow))
}

// zstdLibraries decode frame after frame of whatever streams.
var zstdLibraries sync.Pool

// zstdUnpacker makes what a worker does.
func zstdUnpacker() func(*task) { return unpackZstd }

func unpackZstd(t *task) {
	dec, one := zstdLibraries.Get().(*zstd.Decoder)
	if !one {
		if dec, t.err = newZstdLibrary(); t.err != nil {
			return
		}
	}
	t.out, t.err = dec.DecodeAll(t.in, t.out[:0])
	zstdLibraries.Put(dec)
}

// unpackers are the tasks of streams that have been read to their end, for the
// next stream: their buffers are large, and new memory has to be cleared.
var unpackers sync.Pool

// blank is an unused task.
func (z *zstdDecoder) blank() *task {
	if len(z.crew.spare) == 0 {
		if t, one := unpackers.Get().(*task); one {
			z.crew.recycle(t)
		}
	}
	return z.crew.blank()
}

// retire gives away the tasks that nobody needs any more.
func (z *zstdDecoder) retire() {
	for _, t := range z.crew.spare {
		unpackers.Put(t)
	}
	z.crew.spare = nil
}

func (z *zstdDecoder) close() { z.crew.stop() }

func (z *zstdDecoder) next() ([]byte, error) {
	for {
		b, err := z.piece()
		passed := min(z.passing, int64(len(b)))
		z.passing -= passed
		if b = b[passed:]; err != nil || len(b) > 0 {
			return b, err
		}
	}
}

// pass has the next n bytes of content passed over. Frames that lie in them are
// not decoded.
func (z *zstdDecoder) pass(n int64) { z.passing += n }

func (z *zstdDecoder) piece() ([]byte, error) {
	if z.last != nil {
		z.crew.recycle(z.last)
		z.last = nil
	}
	for {
		blocked := z.err != nil || z.stream != nil || z.crew.full()
		switch {
		case z.crew.ready() || blocked && !z.crew.idle():
			if b, err := z.take(); err != nil || len(b) > 0 {
				return b, err
			}
		case z.err != nil:
			z.retire()
			return nil, z.err
		case z.stream != nil:
			if b := z.read(); len(b) > 0 {
				return b, nil
			}
		default:
			if err := z.scan(); err != nil {
				z.err = err
			}
		}
	}
}

// take returns the content of the oldest frame in the queue.
func (z *zstdDecoder) take() ([]byte, error) {
	t := z.crew.take()
	if t.err != nil {
		if t.err != errClosed {
			t.err = corrupt(Zstd, t.err)
		}
		return nil, t.err
	}
	z.last = t
	z.queued -= int64(len(t.out))
	if len(t.out) == 0 {
		z.crew.recycle(t)
		z.last = nil
	}
	return t.out, nil
}

// scan begins with the next frame of the input: it goes to the crew, or is
// left to read. The error at the end is io.EOF.
func (z *zstdDecoder) scan() error {
	head, _ := z.src.Peek(magicLen)
	var err error
	switch {
	case z.src.tap.err != nil:
		return z.src.tap.err
	case len(head) == 0:
		if err = z.table.end(); err == nil {
			return io.EOF
		}
	case z.table.expected && begins(head, seekTableMagic):
		err = z.table.verify(z.src)
	case skippable(head):
		err = z.src.skipFrame()
	default:
		if err = z.src.follows(Zstd, head); err == nil {
			err = z.frame()
		}
	}
	if err != nil {
		return z.src.fault(Zstd, err)
	}
	return nil
}

// frame reads a frame for the crew, or begins with one that is not for it.
func (z *zstdDecoder) frame() error {
	f, err := newZstdFrame(z.src)
	if err != nil {
		return err
	}
	if z.passes(f) {
		return z.passOver(f)
	}
	if !f.sized || f.content > maxParallel {
		return z.begin(f, f)
	}
	t := z.blank()
	limit := int(f.content + f.content>>6 + 64<<10) // no encoder makes a frame larger than this
	t.in, err = readLimited(f, t.in, limit)
	switch {
	case err == nil:
		packed := bytes.Clone(t.in)
		z.crew.recycle(t)
		return z.begin(f, io.MultiReader(bytes.NewReader(packed), f))
	case err != io.EOF:
		return err
	case string(t.in) == zstdMark:
		z.crew.recycle(t)
		return z.table.begin()
	}
	z.table.add(len(t.in), int(f.content))
	z.queued += int64(f.content)
	z.crew.give(t)
	return nil
}

// passes says whether nobody wants what is in f.
func (z *zstdDecoder) passes(f *zstdFrame) bool {
	room := z.passing - z.queued
	return f.sized && f.content > 0 && room > 0 && f.content <= uint64(room)
}

// passOver reads the frame f without decoding it. What the table says of it is
// compared all the same.
func (z *zstdDecoder) passOver(f *zstdFrame) error {
	if _, err := io.Copy(io.Discard, f); err != nil {
		return err
	}
	z.table.add(int(f.size), int(f.content))
	z.passing -= int64(f.content)
	return nil
}

// begin has the frame f, whose bytes come from r, decoded by read.
func (z *zstdDecoder) begin(f *zstdFrame, r io.Reader) error {
	if z.whole == nil {
		var err error
		if z.whole, err = newZstdLibrary(); err != nil {
			return err
		}
		z.buf = make([]byte, bufSize)
	}
	z.stream, z.plain = f, 0
	return z.whole.Reset(r)
}

// read returns a piece of the frame at hand, or nothing at its end or at an
// error.
func (z *zstdDecoder) read() []byte {
	n, err := fill(z.whole, z.buf)
	z.plain += n
	if err == nil {
		return z.buf[:n]
	}
	f := z.stream
	z.stream = nil
	if err == io.EOF {
		z.table.add(int(f.size), z.plain)
	} else {
		z.err = z.src.fault(Zstd, err)
	}
	return z.buf[:n]
}

// readLimited appends to b what r has, up to limit bytes in all. The error is
// nil if there may be more, and io.EOF if there is not.
func readLimited(r io.Reader, b []byte, limit int) ([]byte, error) {
	for len(b) < limit {
		if len(b) == cap(b) {
			b = slices.Grow(b, max(len(b), 32<<10))
		}
		n, err := r.Read(b[len(b):min(cap(b), limit)])
		b = b[:len(b)+n]
		if err != nil {
			return b, err
		}
	}
	return b, nil
}

package codec

import (
	"encoding/binary"
	"io"
	"sync"

	"github.com/pierrec/lz4/v4"
)

// newLz4Writer writes one lz4 frame, which has an end mark and a checksum.
func newLz4Writer(w io.Writer, level, jobs int) (io.WriteCloser, error) {
	effort := lz4.Fast
	if level > 2 {
		effort = 1 << (8 + level) // the library's names are Level1 to Level9
	}
	out := &errorKeeper{w: w}
	lw := lz4.NewWriter(out)
	err := lw.Apply(
		lz4.ConcurrencyOption(jobs),
		lz4.CompressionLevelOption(effort),
		lz4.BlockSizeOption(lz4.Block1Mb),
		lz4.ChecksumOption(true))
	if err != nil {
		return nil, err
	}
	return &singleWriter{Writer: &lz4Writer{lw, out}, end: func() error {
		err := lw.Close()
		lw.Reset(io.Discard) // ends the library's goroutine where Close failed to
		return err
	}}, nil
}

// An lz4Writer fails as soon as its output did. The library, when it works in
// parallel, would go on until Close.
type lz4Writer struct {
	lw  *lz4.Writer
	out *errorKeeper
}

func (w *lz4Writer) Write(p []byte) (int, error) {
	if err := w.out.failure(); err != nil {
		return 0, err
	}
	return w.lw.Write(p)
}

// An errorKeeper remembers the first error of a writer.
type errorKeeper struct {
	w   io.Writer
	mu  sync.Mutex
	err error
}

func (k *errorKeeper) failure() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

func (k *errorKeeper) Write(p []byte) (int, error) {
	n, err := k.w.Write(p)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err == nil {
		k.err = err
	}
	return n, err
}

// newLz4Decoder reads the frames of an lz4 stream.
func newLz4Decoder(src *source) decoder {
	lr := lz4.NewReader(nil)
	return &serialDecoder{src: src, format: Lz4, open: func() (io.Reader, error) {
		f, err := newLz4Frame(src)
		if err != nil {
			return nil, err
		}
		lr.Reset(f)
		return lr, nil
	}}
}

// Flags in the fifth byte of an lz4 frame.
const (
	lz4Dictionary      = 1 << 0
	lz4ContentChecksum = 1 << 2
	lz4ContentSize     = 1 << 3
	lz4BlockChecksum   = 1 << 4
)

// An lz4Frame is the bytes of one frame.
type lz4Frame struct {
	walker
	flags byte
	ended bool
}

func newLz4Frame(src io.Reader) (*lz4Frame, error) {
	f := &lz4Frame{}
	f.walker = walker{src: src, step: f.block}
	head, err := f.fetch(7) // magic, flags, block size, checksum of these two
	if err != nil {
		return nil, err
	}
	f.flags = head[4]
	if f.flags&lz4ContentSize != 0 {
		f.left += 8
	}
	if f.flags&lz4Dictionary != 0 {
		f.left += 4
	}
	return f, nil
}

func (f *lz4Frame) block() error {
	if f.ended {
		return io.EOF
	}
	b, err := f.fetch(4)
	if err != nil {
		return err
	}
	f.left = int64(binary.LittleEndian.Uint32(b) &^ (1 << 31)) // the highest bit: not compressed
	if f.left == 0 {
		f.ended = true
		if f.flags&lz4ContentChecksum != 0 {
			f.left = 4
		}
	} else if f.flags&lz4BlockChecksum != 0 {
		f.left += 4
	}
	return nil
}

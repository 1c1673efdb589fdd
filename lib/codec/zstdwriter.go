package codec

import (
	"math/bits"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// zstdFrames makes a seekable zstd stream.
type zstdFrames struct {
	frame int
	level int
	table seekTable
}

func (z *zstdFrames) head() []byte {
	z.table.add(len(zstdMark), 0)
	return []byte(zstdMark)
}

func (z *zstdFrames) worker() func(*task) {
	enc, err := zstd.NewWriter(nil,
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderLevel(z.effort()),
		zstd.WithEncoderCRC(true),
		zstd.WithSingleSegment(true), // or the size of a short frame would be left out
		zstd.WithWindowSize(z.window()))
	return func(t *task) {
		if err != nil {
			t.err = err
			return
		}
		// With room for the worst case the buffer never moves. What is not
		// used of it takes no memory.
		t.out = slices.Grow(t.out[:0], len(t.in)+len(t.in)>>8+64)
		t.out = enc.EncodeAll(t.in, t.out)
	}
}

func (z *zstdFrames) add(t *task) { z.table.add(len(t.out), len(t.in)) }

func (z *zstdFrames) tail() []byte { return z.table.encode() }

// effort maps the levels of the zstd program to those of the library.
func (z *zstdFrames) effort() zstd.EncoderLevel {
	switch {
	case z.level <= 1:
		return zstd.SpeedFastest
	case z.level <= 3:
		return zstd.SpeedDefault
	case z.level <= 9:
		return zstd.SpeedBetterCompression
	}
	return zstd.SpeedBestCompression
}

// window is the smallest that spans a frame, and 8 MiB at most, which is as
// much as every reader of zstd streams must support.
func (z *zstdFrames) window() int {
	return min(1<<bits.Len(uint(z.frame-1)), 8<<20)
}

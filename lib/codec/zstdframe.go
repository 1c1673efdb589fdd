package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// maxZstdWindow is what `zstd -d --long=27` allows, and `zstd --ultra -22` uses.
const maxZstdWindow = 128 << 20

// maxZstdBlock is the format's limit for a block.
const maxZstdBlock = 128 << 10

// A zstdFrame is the bytes of one frame, and what its header says.
type zstdFrame struct {
	walker
	sized    bool   // the content's size is known
	content  uint64 // the content's size
	checksum bool
	ended    bool
}

// newZstdFrame reads the header of a frame, and refuses one that needs a large
// window.
func newZstdFrame(src io.Reader) (*zstdFrame, error) {
	f := &zstdFrame{}
	f.walker = walker{src: src, step: f.block}
	b, err := f.fetch(len(zstdMagic) + 1)
	if err != nil {
		return nil, err
	}
	descriptor := b[len(zstdMagic)]
	single := descriptor>>5&1 == 1
	f.checksum = descriptor>>2&1 == 1
	windowLen := 1
	if single {
		windowLen = 0
	}
	dictLen := []int{0, 1, 2, 4}[descriptor&3]
	sizeLen := []int{0, 2, 4, 8}[descriptor>>6]
	if single && sizeLen == 0 {
		sizeLen = 1
	}
	if b, err = f.fetch(windowLen + dictLen + sizeLen); err != nil {
		return nil, err
	}
	f.sized = sizeLen > 0
	f.content = zstdContentSize(b[windowLen+dictLen:])
	window := f.content // a single segment is its own window
	if !single {
		window = zstdWindow(b[0])
	}
	if window > maxZstdWindow {
		return nil, fmt.Errorf("needs a window of %d MiB, the limit is %d MiB", window>>20, maxZstdWindow>>20)
	}
	return f, nil
}

// zstdWindow is the window size by its code: an exponent, and eighths.
func zstdWindow(code byte) uint64 {
	base := uint64(1) << (10 + code>>3)
	return base + base/8*uint64(code&7)
}

// zstdContentSize is the size in a field of 0, 1, 2, 4 or 8 bytes.
func zstdContentSize(field []byte) uint64 {
	var b [8]byte
	copy(b[:], field)
	size := binary.LittleEndian.Uint64(b[:])
	if len(field) == 2 {
		size += 256
	}
	return size
}

// block fetches the header of a block.
func (f *zstdFrame) block() error {
	if f.ended {
		return io.EOF
	}
	b, err := f.fetch(3)
	if err != nil {
		return err
	}
	f.ended = b[0]&1 == 1
	kind := b[0] >> 1 & 3
	f.left = int64(b[0])>>3 | int64(b[1])<<5 | int64(b[2])<<13
	switch {
	case kind == 3:
		return errors.New("unknown kind of block")
	case f.left > maxZstdBlock:
		return errors.New("block is too large")
	case kind == 1: // one byte, repeated
		f.left = 1
	}
	if f.ended && f.checksum {
		f.left += 4
	}
	return nil
}

package codec

import (
	"encoding/binary"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
)

// gzipPiece is how much input one worker compresses at a time.
const gzipPiece = 1 << 20

// gzipPieces makes a gzip stream of a single member, so that its one checksum
// covers all and a cut is always seen. Each piece is compressed for itself and
// ends on a byte boundary (as flate's Flush does), so they can be joined.
type gzipPieces struct {
	level int
	crc   uint32
	size  uint32 // modulo 2^32, as the format has it
}

func (g *gzipPieces) head() []byte {
	return []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3} // deflate, no flags, no time, Unix
}

func (g *gzipPieces) worker() func(*task) {
	fw, err := flate.NewWriter(nil, g.level)
	return func(t *task) {
		if t.err = err; err != nil {
			return
		}
		fw.Reset((*appender)(&t.out))
		if _, t.err = fw.Write(t.in); t.err == nil {
			t.err = fw.Flush()
		}
	}
}

func (g *gzipPieces) add(t *task) {
	g.crc = crc32.Update(g.crc, crc32.IEEETable, t.in)
	g.size += uint32(len(t.in))
}

func (g *gzipPieces) tail() []byte {
	b := []byte{3, 0} // an empty last block
	b = binary.LittleEndian.AppendUint32(b, g.crc)
	return binary.LittleEndian.AppendUint32(b, g.size)
}

// An appender is a byte slice as an io.Writer.
type appender []byte

func (a *appender) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}

// newGzipDecoder reads the members of a gzip stream.
func newGzipDecoder(src *source) decoder {
	var zr *gzip.Reader
	return &serialDecoder{src: src, format: Gzip, open: func() (io.Reader, error) {
		var err error
		if zr == nil {
			zr, err = gzip.NewReader(src)
		} else {
			err = zr.Reset(src)
		}
		if err != nil {
			return nil, err
		}
		zr.Multistream(false)
		return zr, nil
	}}
}

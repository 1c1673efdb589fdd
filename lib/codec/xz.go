package codec

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// maxXzDictionary is what `xz -9` uses.
const maxXzDictionary = 64 << 20

// xzDictionaries are the dictionary sizes of the levels, as the xz program has
// them.
var xzDictionaries = [...]int{1: 1 << 20, 2 << 20, 4 << 20, 4 << 20, 8 << 20, 8 << 20, 16 << 20, 32 << 20, 64 << 20}

// newXzWriter writes one xz stream of one block. Its index and footer are the
// end mark.
func newXzWriter(w io.Writer, level int) (io.WriteCloser, error) {
	out := bufio.NewWriterSize(w, 64<<10)
	config := xz.WriterConfig{DictCap: xzDictionaries[level], CheckSum: xz.CRC64}
	xw, err := config.NewWriter(out)
	if err != nil {
		return nil, err
	}
	return &singleWriter{Writer: xw, end: func() error {
		if err := xw.Close(); err != nil {
			return err
		}
		return out.Flush()
	}}, nil
}

// newXzDecoder reads the streams of an xz file.
func newXzDecoder(src *source) decoder {
	return &serialDecoder{src: src, format: Xz, open: func() (io.Reader, error) {
		s, err := newXzStream(src)
		if err != nil {
			return nil, err
		}
		// The dictionary is as large as the blocks say, but not smaller than this.
		return xz.ReaderConfig{SingleStream: true, DictCap: lzma.MinDictCap}.NewReader(s)
	}}
}

// An xzStream is the bytes of one stream. It refuses blocks that need a large
// dictionary before a decoder can see them.
type xzStream struct {
	walker
	check   int64 // bytes of the checksum after a block
	body    int64 // bytes of the block or the index at hand
	blocks  int
	records uint64 // of the index, still to come
}

// maxXzBlocks bounds the memory that the index of a stream takes in the
// decoder. At the xz program's default block size it allows 96 TiB.
const maxXzBlocks = 1 << 22

// xzCheckSizes are the sizes of the checksums by the low bits of the flags.
var xzCheckSizes = [16]int64{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}

func newXzStream(src io.Reader) (*xzStream, error) {
	s := &xzStream{}
	s.walker = walker{src: src, step: s.block}
	head, err := s.fetch(12)
	if err != nil {
		return nil, err
	}
	s.check = xzCheckSizes[head[7]&15]
	return s, nil
}

// block fetches a block's header, or the first byte of the index.
func (s *xzStream) block() error {
	b, err := s.fetch(1)
	if err != nil {
		return err
	}
	if b[0] == 0 {
		return s.index()
	}
	if s.blocks++; s.blocks > maxXzBlocks {
		return fmt.Errorf("more than %d blocks", maxXzBlocks)
	}
	head, err := s.fetch(int(b[0])*4 + 3)
	if err != nil {
		return err
	}
	s.body, s.step = 0, s.chunk
	return checkXzBlock(head)
}

// chunk fetches the header of a chunk of LZMA2 data.
func (s *xzStream) chunk() error {
	b, err := s.fetch(1)
	if err != nil {
		return err
	}
	control := b[0]
	switch {
	case control == 0: // the end of the block
		s.body++
		s.left = padding(s.body) + s.check
		s.step = s.block
		return nil
	case control <= 2: // not compressed
		b, err = s.fetch(2)
	case control < 0x80:
		return errors.New("unknown kind of chunk")
	default:
		b, err = s.fetch(4) // plain size, packed size
	}
	if err != nil {
		return err
	}
	s.left = int64(binary.BigEndian.Uint16(b[len(b)-2:])) + 1
	if control >= 0xc0 { // new properties
		s.left++
	}
	s.body += 1 + int64(len(b)) + s.left
	return nil
}

// index fetches the number of the index's records.
func (s *xzStream) index() error {
	s.body, s.step = 1, s.record
	var err error
	s.records, err = s.number()
	return err
}

// record fetches two numbers of the index.
func (s *xzStream) record() error {
	if s.records == 0 {
		s.left = padding(s.body) + 4 + 12 // checksum, footer
		s.step = func() error { return io.EOF }
		return nil
	}
	s.records--
	if _, err := s.number(); err != nil {
		return err
	}
	_, err := s.number()
	return err
}

// number fetches a number of variable length.
func (s *xzStream) number() (uint64, error) {
	var raw []byte
	for len(raw) < 9 {
		b, err := s.fetch(1)
		if err != nil {
			return 0, err
		}
		s.body++
		if raw = append(raw, b[0]); b[0] < 0x80 {
			n, _ := binary.Uvarint(raw)
			return n, nil
		}
	}
	return 0, errors.New("number in the index is too long")
}

func padding(n int64) int64 { return -n & 3 }

// checkXzBlock checks the filters of a block's header, which is given without
// its first byte.
func checkXzBlock(head []byte) error {
	flags, rest := head[0], head[1:]
	for _, sized := range []byte{0x40, 0x80} { // packed size, plain size
		if flags&sized != 0 {
			_, n := binary.Uvarint(rest)
			rest = rest[max(n, 0):]
		}
	}
	if flags&3 != 0 || len(rest) < 3 || rest[0] != 0x21 || rest[1] != 1 {
		return errors.New("filters other than LZMA2 are not supported")
	}
	code := rest[2]
	if code > 40 {
		return errors.New("bad dictionary size")
	}
	if size := int64(2|code&1) << (code/2 + 11); size > maxXzDictionary {
		return fmt.Errorf("needs a dictionary of %d MiB, the limit is %d MiB", size>>20, maxXzDictionary>>20)
	}
	return nil
}

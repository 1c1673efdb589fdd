package codec

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

const (
	zstdMagic = "\x28\xb5\x2f\xfd"
	gzipMagic = "\x1f\x8b"
	xzMagic   = "\xfd7zXZ\x00"
	lz4Magic  = "\x04\x22\x4d\x18"

	magicLen = len(xzMagic) // the longest
	bufSize  = 256 << 10
)

var magics = []struct {
	format Format
	bytes  string
}{{Zstd, zstdMagic}, {Gzip, gzipMagic}, {Xz, xzMagic}, {Lz4, lz4Magic}}

// A source is a compressed input.
type source struct {
	*bufio.Reader
	tap *tap
}

// A tap remembers why an input could not be read, so that a failing disk is
// not taken for damaged data.
type tap struct {
	r   io.Reader
	err error
}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if err != nil && err != io.EOF {
		t.err = err
	}
	return n, err
}

func newSource(r io.Reader) *source {
	t := &tap{r: r}
	return &source{bufio.NewReaderSize(t, bufSize), t}
}

// fault is the error to report when decoding f failed with err.
func (s *source) fault(f Format, err error) error {
	if s.tap.err != nil {
		return s.tap.err
	}
	return corrupt(f, err)
}

// detect finds the format of the input by its first bytes, which stay unread,
// except for skippable frames.
func (s *source) detect() (Format, error) {
	skipped := false
	for {
		head, _ := s.Peek(magicLen)
		switch {
		case s.tap.err != nil:
			return Format{}, s.tap.err
		case len(head) == 0 && skipped:
			return Zstd, nil
		case len(head) == 0:
			return Format{}, fmt.Errorf("%w: empty input", ErrCorrupt)
		case !skippable(head):
			return recognise(head, skipped)
		}
		skipped = true
		if err := s.skipFrame(); err != nil {
			return Format{}, s.fault(Zstd, err)
		}
	}
}

// recognise finds the format by the first bytes. Only zstd and lz4 streams may
// follow a skippable frame.
func recognise(head []byte, skipped bool) (Format, error) {
	for _, m := range magics {
		if begins(head, m.bytes) && (!skipped || m.format == Zstd || m.format == Lz4) {
			if len(head) < len(m.bytes) {
				return Format{}, corrupt(m.format, io.ErrUnexpectedEOF)
			}
			return m.format, nil
		}
	}
	return Format{}, fmt.Errorf("%w: input begins with %s", ErrFormat, hex.EncodeToString(head))
}

// begins says that head and magic are the same as far as both go.
func begins(head []byte, magic string) bool {
	n := min(len(head), len(magic))
	return string(head[:n]) == magic[:n]
}

// more says whether the input goes on with another frame of format f. It skips
// what may lie between frames. Anything else is an error.
func (s *source) more(f Format) (bool, error) {
	for {
		head, _ := s.Peek(magicLen)
		var err error
		switch {
		case s.tap.err != nil:
			return false, s.tap.err
		case len(head) == 0:
			return false, nil
		case f == Lz4 && skippable(head):
			err = s.skipFrame()
		case f == Xz && len(head) >= 4 && string(head[:4]) == "\x00\x00\x00\x00":
			_, err = s.Discard(4)
		default:
			return true, s.follows(f, head)
		}
		if err != nil {
			return false, err
		}
	}
}

// follows fails unless head is the beginning of a frame of format f.
func (s *source) follows(f Format, head []byte) error {
	got, err := recognise(head, false)
	if err == nil && got == f || errors.Is(err, ErrCorrupt) {
		return err
	}
	return fmt.Errorf("something else follows the end: %s", hex.EncodeToString(head))
}

// skippable says that head begins a skippable frame, of which there are 16
// kinds. zstd and lz4 share them.
func skippable(head []byte) bool {
	return head[0]&0xf0 == 0x50 && begins(head[1:], "\x2a\x4d\x18")
}

// skipFrame discards a skippable frame.
func (s *source) skipFrame() error {
	var head [8]byte
	if _, err := io.ReadFull(s, head[:]); err != nil {
		return err
	}
	size := int64(head[4]) | int64(head[5])<<8 | int64(head[6])<<16 | int64(head[7])<<24
	_, err := io.CopyN(io.Discard, s, size)
	return err
}

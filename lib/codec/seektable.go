package codec

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
)

// zstdMark is the first frame of a zstd stream of ours: an empty one with the
// smallest window (1 KiB), a content size of 8 bytes, one empty raw block and
// the checksum of nothing. Encoders store a size of 0 in one byte, or not at
// all, so that no other stream begins like this.
const zstdMark = zstdMagic + "\xc4\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00" + "\x01\x00\x00" + "\x99\xe9\xd8\x51"

const (
	seekTableMagic  = "\x5e\x2a\x4d\x18" // a skippable frame
	seekFooterMagic = "\xb1\xea\x92\x8f"
	seekEntrySize   = 8
	seekFooterSize  = 9
)

// A seekTable is the list of the frames' sizes at the end of a stream, as the
// "Zstandard Seekable Format" has it, without checksums (the frames have
// theirs). It takes 8 bytes of memory for a frame: 2 MiB for 1 TiB of input in
// frames of 4 MiB.
type seekTable struct {
	entries []byte
}

func seekEntry(b []byte, packed, plain int) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(packed))
	return binary.LittleEndian.AppendUint32(b, uint32(plain))
}

func (s *seekTable) add(packed, plain int) { s.entries = seekEntry(s.entries, packed, plain) }

// encode returns the skippable frame that holds the table.
func (s *seekTable) encode() []byte {
	b := seekHead(len(s.entries) / seekEntrySize)
	b = append(b, s.entries...)
	return append(b, seekFoot(len(s.entries)/seekEntrySize)...)
}

func seekHead(frames int) []byte {
	size := frames*seekEntrySize + seekFooterSize
	return binary.LittleEndian.AppendUint32([]byte(seekTableMagic), uint32(size))
}

func seekFoot(frames int) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(frames))
	b = append(b, 0) // no checksums
	return append(b, seekFooterMagic...)
}

// A seekCheck compares the table of a stream with the frames that came before
// it. It keeps a hash of the entries instead of the entries.
type seekCheck struct {
	expected bool // a mark was seen, and no table since
	frames   int
	sum      hash.Hash
}

// begin notes that a mark was read.
func (s *seekCheck) begin() error {
	if s.expected {
		return errors.New("cut short: a new stream begins before the seek table")
	}
	*s = seekCheck{expected: true, sum: sha256.New()}
	s.add(len(zstdMark), 0)
	return nil
}

// add notes a frame.
func (s *seekCheck) add(packed, plain int) {
	if s.expected {
		s.frames++
		s.sum.Write(seekEntry(nil, packed, plain))
	}
}

// end notes that the input ended.
func (s *seekCheck) end() error {
	if s.expected {
		return errors.New("cut short: the seek table is missing")
	}
	return nil
}

// verify reads the table, and fails unless it lists exactly the frames noted.
func (s *seekCheck) verify(r io.Reader) error {
	s.expected = false
	if err := expect(r, seekHead(s.frames)); err != nil {
		return err
	}
	entries := sha256.New()
	if _, err := io.CopyN(entries, r, int64(s.frames)*seekEntrySize); err != nil {
		return err
	}
	if !bytes.Equal(entries.Sum(nil), s.sum.Sum(nil)) {
		return errSeekTable
	}
	return expect(r, seekFoot(s.frames))
}

var errSeekTable = errors.New("the seek table does not fit the frames")

func expect(r io.Reader, want []byte) error {
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errSeekTable
	}
	return nil
}

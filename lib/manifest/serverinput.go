package manifest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"unicode/utf8"
)

// maxToken is how far, in bytes, the input may run ahead of the JSON that has
// been understood: more than a path can need.
const maxToken = 256 << 10

// serverInput reads the bytes of a backup_manifest for a JSON decoder. It
// computes the hash that Manifest-Checksum holds, and refuses what the decoder
// would take without complaint: bytes that are not UTF-8 and endless strings.
type serverInput struct {
	from    io.Reader
	decoder *json.Decoder // that reads from here
	hash    hash.Hash
	read    int64
	rest    []byte // the beginning of a rune that was cut at the end of a read
	ended   bool   // the last byte is an LF

	// The hash up to and including the last newline, and the one before it.
	last, beforeLast []byte
	err              error // of from
}

func newServerInput(r io.Reader) *serverInput {
	// The decoder reads a few hundred bytes at a time.
	in := &serverInput{from: bufio.NewReaderSize(r, 64<<10), hash: sha256.New()}
	in.decoder = json.NewDecoder(in)
	in.decoder.UseNumber()
	return in
}

var (
	errNotUTF8 = errors.New("not UTF-8")
	errToken   = errors.New("a value is too long")
)

// Read reads for the decoder.
func (in *serverInput) Read(p []byte) (int, error) {
	if in.read-in.decoder.InputOffset() > maxToken {
		return 0, errToken
	}
	n, err := in.from.Read(p)
	in.read += int64(n)
	in.digest(p[:n])
	if !in.isText(p[:n]) {
		return 0, errNotUTF8
	}
	if err != nil && err != io.EOF {
		in.err = err
	}
	return n, err
}

// digest adds p to the hash and keeps the sums at the last two newlines.
func (in *serverInput) digest(p []byte) {
	if len(p) == 0 {
		return
	}
	in.ended = p[len(p)-1] == '\n'
	last := bytes.LastIndexByte(p, '\n')
	before := bytes.LastIndexByte(p[:max(last, 0)], '\n')
	done := 0
	for _, i := range []int{before, last} {
		if i >= 0 {
			in.hash.Write(p[done : i+1])
			done = i + 1
			in.beforeLast, in.last = in.last, in.hash.Sum(nil)
		}
	}
	in.hash.Write(p[done:])
}

// isText reports whether p goes on in UTF-8. A rune may be cut at its end.
func (in *serverInput) isText(p []byte) bool {
	text := p
	if len(in.rest) > 0 {
		text = append(in.rest, p...)
	}
	cut := len(text)
	for i := cut - 1; i >= max(0, cut-utf8.UTFMax); i-- {
		if utf8.RuneStart(text[i]) {
			if !utf8.FullRune(text[i:]) {
				cut = i
			}
			break
		}
	}
	in.rest = bytes.Clone(text[cut:])
	return utf8.Valid(text[:cut])
}

// sum is the hash of all bytes up to and including the last newline but one.
// It is nil if the input, once it has been read to its end, does not end in a
// line that can hold the checksum.
func (in *serverInput) sum() []byte {
	if !in.ended {
		return nil
	}
	return in.beforeLast
}

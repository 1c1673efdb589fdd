// Package codec compresses and decompresses streams in the formats that the
// stock tools zstd, gzip, xz and lz4 read and write.
//
// # Guarantees
//
// A stream that was cut, anywhere, is an error and never a short file: what
// [NewWriter] writes carries an end mark in every format, and [NewReader]
// insists on it. Bytes after the end are an error too, except for further
// streams of the same format, as cat(1) makes them. (Of a file joined by cat
// a whole stream at the end may be lost unseen, and of a foreign zstd file a
// whole frame: these formats have no mark that would tell.)
//
// Every stream that is written has a checksum of its content, and reading
// verifies it.
//
// Memory is bounded whatever the input claims. Writing takes at most twice the
// frame size for each job and one more, and about 8 MiB of tables for each
// job. Reading takes at most 16 MiB for each job and one more, and the window
// of a stream that cannot be read in parallel, for which there is a limit
// (128 MiB for zstd, 64 MiB for xz).
//
// # Zstandard
//
// A stream of ours is a series of independent frames, each with its size and
// a checksum, so that all cores work on it, and at the end the table of the
// public "seekable format", which lies in a skippable frame. The first frame
// is empty and written in a way that no other program uses (its size, 0, takes
// 8 bytes): it announces that the table must come. A stream that begins so
// and does not end in a table that fits its frames was cut or has lost a
// frame. As the stream begins with an ordinary frame, file(1) and tar(1)
// recognise it, and `zstd -d`, `-t` and `-l` take it like any other.
package codec

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

var (
	// ErrFormat says that a format's name, or the beginning of an input, is
	// none of those known here.
	ErrFormat = errors.New("codec: unknown format")

	// ErrCorrupt is wrapped by every failure to decode: the input is cut,
	// damaged, followed by something else, or needs more memory than allowed.
	ErrCorrupt = errors.New("codec: damaged input")

	errClosed = errors.New("codec: already closed")
)

// A Format is a way to compress a stream.
type Format struct {
	Name   string // as users write it
	Suffix string // of file names, with the dot
}

// The formats. None leaves the bytes as they are.
var (
	Zstd = Format{"zstd", ".zst"}
	Gzip = Format{"gzip", ".gz"}
	Xz   = Format{"xz", ".xz"}
	Lz4  = Format{"lz4", ".lz4"}
	None = Format{"none", ""}
)

// String returns the format's name.
func (f Format) String() string { return f.Name }

// Formats lists the formats, the recommended one first and None last.
func Formats() []Format { return []Format{Zstd, Gzip, Xz, Lz4, None} }

// ByName finds the format of that exact name. Its error wraps ErrFormat.
func ByName(name string) (Format, error) {
	var known []string
	for _, f := range Formats() {
		if f.Name == name {
			return f, nil
		}
		known = append(known, f.Name)
	}
	return Format{}, fmt.Errorf("%w: %q is none of %s", ErrFormat, name, strings.Join(known, ", "))
}

// SplitName takes the suffix of a format off a file's name or a key. A name
// without one, or with nothing before it, is returned whole, with None.
func SplitName(key string) (plain string, f Format) {
	for _, f := range Formats() {
		plain, found := strings.CutSuffix(key, f.Suffix)
		if f != None && found && plain != "" && !strings.HasSuffix(plain, "/") {
			return plain, f
		}
	}
	return key, None
}

// corrupt says that an input of format f cannot be decoded, and why.
func corrupt(f Format, err error) error {
	if errors.Is(err, ErrCorrupt) {
		return err
	}
	text := strings.TrimPrefix(err.Error(), f.Name+": ")
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		text = "cut short"
	}
	return fmt.Errorf("%w: %s: %s", ErrCorrupt, f.Name, text)
}

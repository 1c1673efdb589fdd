package base

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"pgpipes/lib/manifest"
)

// outBuffer is how many bytes are gathered before they are written.
const outBuffer = 256 << 10

// A sink is the writing end of one part of a base stream: members go into a
// tar, and their descriptions to note.
type sink struct {
	part     string // its name
	note     func(...manifest.Entry) error
	buffered *bufio.Writer
	tar      *tar.Writer
	hash     hash.Hash
	current  manifest.Entry // the file being written
	members  int
}

func newSink(out io.Writer, part string, note func(...manifest.Entry) error) *sink {
	buffered := bufio.NewWriterSize(out, outBuffer)
	return &sink{part: part, note: note, buffered: buffered, tar: tar.NewWriter(buffered), hash: sha256.New()}
}

// named is the name of the part.
func (s *sink) named() string { return s.part }

// count is how many members have been begun.
func (s *sink) count() int { return s.members }

// list notes an entry that lies in another part.
func (s *sink) list(e manifest.Entry) error { return s.note(e) }

// addDirectory writes a directory member.
func (s *sink) addDirectory(m Member) error {
	m.Kind, m.Size, m.Part = manifest.Directory, 0, s.part
	if err := s.header(m); err != nil {
		return err
	}
	return s.note(m.Entry)
}

// startFile begins a file member of m.Size bytes, which Write then takes.
func (s *sink) startFile(m Member) error {
	m.Kind, m.Part = manifest.File, s.part
	s.current = m.Entry
	s.hash.Reset()
	return s.header(m)
}

// Write takes a piece of the current file.
func (s *sink) Write(p []byte) (int, error) {
	s.hash.Write(p)
	return s.tar.Write(p)
}

// endFile ends the current file, which must have got all its bytes.
func (s *sink) endFile() error {
	s.current.SHA256 = hex.EncodeToString(s.hash.Sum(nil))
	return s.note(s.current)
}

// addFile writes a file from a reader of m.Size bytes.
func (s *sink) addFile(m Member, from io.Reader) error {
	if err := s.startFile(m); err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{s}, struct{ io.Reader }{from}, make([]byte, min(outBuffer, m.Size+1))); err != nil {
		return err
	}
	return s.endFile()
}

// end writes the trailer of the tar.
func (s *sink) end() error { return errors.Join(s.tar.Close(), s.buffered.Flush()) }

// header writes the tar header of a member. The format is plain POSIX (ustar)
// unless a path or a size needs an extended header.
func (s *sink) header(m Member) error {
	s.members++
	h := &tar.Header{
		Typeflag: tar.TypeReg, Name: m.Path, Mode: int64(m.Mode), Size: m.Size, ModTime: m.MTime.Truncate(time.Second),
		Uid: m.UID, Gid: m.GID,
	}
	if m.Kind == manifest.Directory {
		h.Typeflag, h.Name = tar.TypeDir, m.Path+"/"
	}
	h.Uname, h.Gname, _ = strings.Cut(m.Owner, ":")
	if err := s.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("%s: %w", m.Path, err)
	}
	return nil
}

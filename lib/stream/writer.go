package stream

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
type Writer struct {
	name     string // its name
	notes    func(...manifest.Entry) error
	buffered *bufio.Writer
	tar      *tar.Writer
	hash     hash.Hash
	current  manifest.Entry // the file being written
	begun    int
}

func NewWriter(out io.Writer, part string, note func(...manifest.Entry) error) *Writer {
	buffered := bufio.NewWriterSize(out, outBuffer)
	return &Writer{name: part, notes: note, buffered: buffered, tar: tar.NewWriter(buffered), hash: sha256.New()}
}

// Part is the name of the part.
func (s *Writer) Part() string { return s.name }

// Members is how many members have been begun.
func (s *Writer) Members() int { return s.begun }

// Note notes an entry that lies in another part.
func (s *Writer) Note(e manifest.Entry) error { return s.notes(e) }

// AddDirectory writes a directory member.
func (s *Writer) AddDirectory(m Member) error {
	m.Kind, m.Size, m.Part = manifest.Directory, 0, s.name
	if err := s.header(m); err != nil {
		return err
	}
	return s.notes(m.Entry)
}

// StartFile begins a file member of m.Size bytes, which Write then takes.
func (s *Writer) StartFile(m Member) error {
	m.Kind, m.Part = manifest.File, s.name
	s.current = m.Entry
	s.hash.Reset()
	return s.header(m)
}

// Write takes a piece of the current file.
func (s *Writer) Write(p []byte) (int, error) {
	s.hash.Write(p)
	return s.tar.Write(p)
}

// EndFile ends the current file, which must have got all its bytes.
func (s *Writer) EndFile() error {
	s.current.SHA256 = hex.EncodeToString(s.hash.Sum(nil))
	return s.notes(s.current)
}

// AddFile writes a file from a reader of m.Size bytes.
func (s *Writer) AddFile(m Member, from io.Reader) error {
	if err := s.StartFile(m); err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{s}, struct{ io.Reader }{from}, make([]byte, min(outBuffer, m.Size+1))); err != nil {
		return err
	}
	return s.EndFile()
}

// End writes the trailer of the tar.
func (s *Writer) End() error { return errors.Join(s.tar.Close(), s.buffered.Flush()) }

// header writes the tar header of a member. The format is plain POSIX (ustar)
// unless a path or a size needs an extended header.
func (s *Writer) header(m Member) error {
	s.begun++
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

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

// A Writer writes one part of a base stream. Members go into a tar, one after the
// other, with what their entries say of mode, owner, time and size; the entries, as
// the manifest is to have them, go to whoever notes them.
type Writer struct {
	name     string // of the part
	notes    func(...manifest.Entry) error
	buffered *bufio.Writer
	tar      *tar.Writer
	hash     hash.Hash
	current  manifest.Entry // the file being written
	begun    int            // members
}

// NewWriter writes the part of this name. What note gets is in the tar, or on its
// way to it.
func NewWriter(out io.Writer, part string, note func(...manifest.Entry) error) *Writer {
	buffered := bufio.NewWriterSize(out, outBuffer)
	return &Writer{name: part, notes: note, buffered: buffered, tar: tar.NewWriter(buffered), hash: sha256.New()}
}

// Part is the name of the part.
func (w *Writer) Part() string { return w.name }

// Members is how many members have been begun.
func (w *Writer) Members() int { return w.begun }

// Note notes an entry that lies in another part already.
func (w *Writer) Note(e manifest.Entry) error { return w.notes(e) }

// AddDirectory writes a directory member.
func (w *Writer) AddDirectory(m Member) error {
	m.Kind, m.Size, m.Part = manifest.Directory, 0, w.name
	if err := w.header(m); err != nil {
		return err
	}
	return w.notes(m.Entry)
}

// StartFile begins a file member of m.Size bytes, which Write then takes and
// EndFile ends.
func (w *Writer) StartFile(m Member) error {
	m.Kind, m.Part = manifest.File, w.name
	w.current = m.Entry
	w.hash.Reset()
	return w.header(m)
}

// Write takes a piece of the current file.
func (w *Writer) Write(p []byte) (int, error) {
	w.hash.Write(p)
	return w.tar.Write(p)
}

// EndFile ends the current file, which must have got all its bytes.
func (w *Writer) EndFile() error {
	w.current.SHA256 = hex.EncodeToString(w.hash.Sum(nil))
	return w.notes(w.current)
}

// AddFile writes a file from a reader of m.Size bytes.
func (w *Writer) AddFile(m Member, from io.Reader) error {
	if err := w.StartFile(m); err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{from}, make([]byte, min(outBuffer, m.Size+1))); err != nil {
		return err
	}
	return w.EndFile()
}

// End writes the trailer of the tar, and all that has been held back.
func (w *Writer) End() error { return errors.Join(w.tar.Close(), w.buffered.Flush()) }

// header writes the tar header of a member. The format is plain POSIX (ustar)
// unless a path or a size needs an extended header.
func (w *Writer) header(m Member) error {
	w.begun++
	h := &tar.Header{
		Typeflag: tar.TypeReg, Name: m.Path, Mode: int64(m.Mode), Size: m.Size, ModTime: m.MTime.Truncate(time.Second),
		Uid: m.UID, Gid: m.GID,
	}
	if m.Kind == manifest.Directory {
		h.Typeflag, h.Name = tar.TypeDir, m.Path+"/"
	}
	h.Uname, h.Gname, _ = strings.Cut(m.Owner, ":")
	if err := w.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("%s: %w", m.Path, err)
	}
	return nil
}

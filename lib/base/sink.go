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
	"os"
	"path/filepath"
	"strings"
	"time"

	"pgpipes/lib/durable"
	"pgpipes/lib/manifest"
)

const (
	outBuffer    = 256 << 10
	manifestFile = "backup_manifest"
	endMode      = 0o600 // of the files that are made here
)

// A sink is the writing end of a base stream: members go into a tar, and their
// descriptions into our manifest and into the server's, which grow in
// temporary files.
type sink struct {
	buffered *bufio.Writer
	tar      *tar.Writer
	entries  *manifest.Writer
	spool    *durable.File // of backup_manifest; it never gets a name
	server   *manifest.ServerManifestWriter
	hash     hash.Hash
	current  manifest.Entry // the file being written
	owners   owners
}

func newSink(out io.Writer) (*sink, error) {
	spool, err := durable.Create(filepath.Join(os.TempDir(), manifestFile), endMode)
	if err != nil {
		return nil, err
	}
	buffered := bufio.NewWriterSize(out, outBuffer)
	return &sink{
		buffered: buffered, tar: tar.NewWriter(buffered), entries: manifest.NewWriter(""),
		spool: spool, server: manifest.NewServerManifestWriter(spool), hash: sha256.New(), owners: owners{},
	}, nil
}

func (s *sink) close() {
	if s.entries != nil {
		s.entries.Close()
	}
	s.spool.Close()
}

// addDirectory writes a directory member.
func (s *sink) addDirectory(m Member) error {
	m.Kind, m.Size, m.Part = manifest.Directory, 0, part
	if err := s.header(m); err != nil {
		return err
	}
	return s.entries.Add(m.Entry)
}

// startFile begins a file member of m.Size bytes, which Write then takes.
func (s *sink) startFile(m Member) error {
	m.Kind, m.Part = manifest.File, part
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
	e := s.current
	e.SHA256 = hex.EncodeToString(s.hash.Sum(nil))
	if err := s.entries.Add(e); err != nil {
		return err
	}
	return s.server.Add(e.Path, e.Size, e.MTime, e.SHA256)
}

// addBytes writes a small file.
func (s *sink) addBytes(path string, data []byte, owner owner, at time.Time) error {
	if err := s.startFile(s.member(path, int64(len(data)), owner, at)); err != nil {
		return err
	}
	if _, err := s.Write(data); err != nil {
		return err
	}
	return s.endFile()
}

// finish writes backup_manifest, the mark of a complete stream, and the
// trailer. The file itself is in our manifest, as it is in the stream, but not
// in itself.
func (s *sink) finish(needed manifest.WALRange, owner owner, at time.Time) error {
	if err := s.server.Finish([]manifest.WALRange{needed}); err != nil {
		return err
	}
	size := s.spool.Size()
	if err := s.startFile(s.member(manifestFile, size, owner, at)); err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{s}, io.NewSectionReader(s.spool, 0, size), make([]byte, outBuffer)); err != nil {
		return err
	}
	s.current.SHA256 = hex.EncodeToString(s.hash.Sum(nil))
	if err := s.entries.Add(s.current); err != nil {
		return err
	}
	return errors.Join(s.tar.Close(), s.buffered.Flush())
}

// member describes a file that is made here.
func (s *sink) member(path string, size int64, owner owner, at time.Time) Member {
	e := manifest.Entry{Path: path, Mode: endMode, Owner: s.owners.name(owner), Size: size, MTime: at}
	return Member{Entry: e, UID: int(owner.uid), GID: int(owner.gid)}
}

// header writes the tar header of a member. The format is plain POSIX (ustar)
// unless a path or a size needs an extended header.
func (s *sink) header(m Member) error {
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

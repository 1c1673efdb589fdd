package base

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pagecache"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/wait"
)

const (
	readSize = 2 << 20 // bytes; a multiple of every block size
	// A file this small is read before its size is announced, so that a
	// configuration file that grows is not cut. Relations may be cut, as
	// replay brings the rest.
	wholeSize = readSize

	// What is said and recorded of bad pages must not grow with their number.
	warnedBad   = 20
	recordedBad = 1000

	rereads     = 5
	rereadPause = 10 * time.Millisecond
)

// file copies one file as it is now: what it grows is left, what it shrinks is
// filled with zeros. WAL repairs either.
func (t *tree) file(ctx context.Context, s *sink, name string) error {
	reading := wait.On(ctx, "reading "+t.path(name))
	reading.Begin()
	// Without O_NONBLOCK a named pipe would be waited for.
	opened, err := os.OpenFile(t.path(name), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	reading.End()
	if err != nil {
		return t.vanished(name, err)
	}
	defer opened.Close()
	info, err := opened.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: no longer a plain file", t.path(name))
	}
	if err != nil {
		return err
	}
	f := watched{pagecache.Of(opened), reading}
	m := t.member(name, info)
	first, isRelation := t.relation(name)
	if m.Size <= wholeSize {
		return t.smallFile(s, f, m, first, isRelation)
	}
	if err := s.startFile(m); err != nil {
		return err
	}
	for at := int64(0); at < m.Size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		piece := t.buffer[:min(m.Size-at, readSize)]
		if err := t.read(f, piece, at, name, first, isRelation); err != nil {
			return err
		}
		if _, err := s.Write(piece); err != nil {
			return err
		}
		at += int64(len(piece))
	}
	return s.endFile()
}

// watched is a file whose reads are watched.
type watched struct {
	io.ReaderAt
	reading *wait.Operation
}

func (w watched) ReadAt(p []byte, off int64) (int, error) {
	w.reading.Begin()
	defer w.reading.End()
	return w.ReaderAt.ReadAt(p, off)
}

// smallFile copies what fits into the buffer with the size that was read.
func (t *tree) smallFile(s *sink, f io.ReaderAt, m Member, first uint32, isRelation bool) error {
	n, err := f.ReadAt(t.buffer, 0)
	if err != nil && err != io.EOF {
		return err
	}
	if isRelation { // a page that was only begun is no page yet
		n = min(n, int(m.Size))
		t.checkPages(f, t.buffer[:n], 0, m.Path, first)
	}
	m.Size = int64(n)
	if err := s.startFile(m); err != nil {
		return err
	}
	if _, err := s.Write(t.buffer[:n]); err != nil {
		return err
	}
	t.count(n)
	return s.endFile()
}

// read fills a piece of a file, with zeros behind its end.
func (t *tree) read(f io.ReaderAt, piece []byte, at int64, name string, first uint32, isRelation bool) error {
	n, err := f.ReadAt(piece, at)
	if err != nil && err != io.EOF {
		return err
	}
	clear(piece[n:])
	if isRelation {
		t.checkPages(f, piece[:n], at, name, first)
	}
	t.count(len(piece))
	return nil
}

func (t *tree) count(n int) {
	t.done += int64(n)
	t.report(t.done)
}

// checkPages verifies the page checksums of a piece. A bad page is read again,
// as the server may be writing it, and what then is good goes into the copy.
func (t *tree) checkPages(f io.ReaderAt, piece []byte, at int64, name string, first uint32) {
	size := int(t.control.BlockSize)
	for i := 0; i+size <= len(piece); i += size {
		page := piece[i : i+size]
		block := first + uint32((at+int64(i))/int64(size))
		if pgdata.CheckPage(page, block, t.start) == pgdata.PageBad && !t.reread(f, page, at+int64(i), block) {
			t.notePage(name, block)
		}
	}
}

func (t *tree) notePage(name string, block uint32) {
	t.badAll++
	if t.badAll <= warnedBad {
		t.warn("%s: block %d: wrong checksum", t.path(name), block)
	}
	if t.badAll <= recordedBad {
		t.bad = append(t.bad, manifest.BadPage{Path: name, Block: block})
	}
}

// reread tries whether a page is good after all.
func (t *tree) reread(f io.ReaderAt, page []byte, at int64, block uint32) bool {
	again := make([]byte, len(page))
	for range rereads {
		time.Sleep(rereadPause)
		switch n, err := f.ReadAt(again, at); {
		case err == io.EOF && n < len(again):
			return true // truncated meanwhile
		case err != nil && err != io.EOF:
			return false
		}
		if pgdata.CheckPage(again, block, t.start) != pgdata.PageBad {
			copy(page, again)
			return true
		}
	}
	return false
}

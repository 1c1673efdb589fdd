package backup

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"pgpipes/lib/pagecache"
	"pgpipes/lib/stream"
	"pgpipes/lib/wait"
)

const (
	readSize = 2 << 20 // bytes; a multiple of every block size
	// A file this small is read before its size is announced, so that a
	// configuration file that grows is not cut. Relations may be cut, as
	// replay brings the rest.
	wholeSize = readSize
)

// file copies one file as it is now: what it grows is left, what it shrinks is
// filled with zeros. WAL repairs either.
func (w *worker) file(ctx context.Context, name string) error {
	t := w.tree
	reading := wait.On(ctx, "reading "+t.path(name))
	reading.Begin()
	opened, err := t.open(name)
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
	m := w.member(name, info)
	if reused, err := w.reuse(ctx, f, m, info); err != nil || reused {
		return err
	}
	first, isRelation := t.control.FirstBlock(name)
	if m.Size <= wholeSize {
		return w.smallFile(ctx, f, m, first, isRelation)
	}
	if err := w.sink.StartFile(m); err != nil {
		return err
	}
	for at := int64(0); at < m.Size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		piece := w.buffer[:min(m.Size-at, readSize)]
		if err := w.read(f, piece, at, name, first, isRelation); err != nil {
			return err
		}
		if _, err := w.sink.Write(piece); err != nil {
			return err
		}
		if err := w.count(ctx, len(piece)); err != nil {
			return err
		}
		at += int64(len(piece))
	}
	return w.sink.EndFile()
}

// open opens a file. Without O_NONBLOCK a named pipe would be waited for.
func (t *tree) open(name string) (*os.File, error) {
	flags := os.O_RDONLY | unix.O_NONBLOCK
	if !t.follow {
		flags |= unix.O_NOFOLLOW
	}
	return os.OpenFile(t.path(name), flags, 0)
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
func (w *worker) smallFile(ctx context.Context, f io.ReaderAt, m stream.Member, first uint32, isRelation bool) error {
	n, err := f.ReadAt(w.buffer, 0)
	if err != nil && err != io.EOF {
		return err
	}
	if isRelation { // a page that was only begun is no page yet
		n = min(n, int(m.Size))
		w.checkPages(f, w.buffer[:n], 0, m.Path, first)
	}
	m.Size = int64(n)
	if err := w.sink.StartFile(m); err != nil {
		return err
	}
	if _, err := w.sink.Write(w.buffer[:n]); err != nil {
		return err
	}
	if err := w.count(ctx, n); err != nil {
		return err
	}
	return w.sink.EndFile()
}

// read fills a piece of a file, with zeros behind its end.
func (w *worker) read(f io.ReaderAt, piece []byte, at int64, name string, first uint32, isRelation bool) error {
	n, err := f.ReadAt(piece, at)
	if err != nil && err != io.EOF {
		return err
	}
	clear(piece[n:])
	if isRelation {
		w.checkPages(f, piece[:n], at, name, first)
	}
	return nil
}

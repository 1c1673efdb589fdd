// Package pagecache reads files of a running server without taking the memory
// that the server's own files are cached in.
//
// A copy of a cluster that goes through the system's page cache fills it with
// pages that nobody will want again, and so drives out those that the server
// does. Telling the system afterwards to forget a file (POSIX_FADV_DONTNEED)
// is worse: it also forgets the pages that the server had there. What is wanted
// is a read that leaves the cache as it was. Linux can do that since 6.14, file
// system by file system (preadv2(2), RWF_DONTCACHE); where it cannot, the read
// is an ordinary one.
package pagecache

import (
	"errors"
	"io"
	"os"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// rwfDontCache is RWF_DONTCACHE: pages that this read brings into the cache
// leave it when it is done, and those that were there stay.
const rwfDontCache = 0x80

// A File reads an open plain file, which is to be read once, mostly from its
// beginning to its end. Pieces of 2 MiB cost no more than ordinary reads do; of
// smaller ones that are not in the cache, some of what the system has read ahead
// is thrown away and read again (on one machine: 0.8 of the speed for 1 MiB, 0.4
// for 256 KiB, 0.15 for 8 KiB).
type File struct {
	file     *os.File
	ordinary atomic.Bool // the file system cannot do better
}

// Of returns an open file as one that is read without a trace. It stays the
// caller's to close.
func Of(f *os.File) *File {
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_SEQUENTIAL) // only advice
	return &File{file: f}
}

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) && err == nil && off >= 0 && !f.ordinary.Load() { // -1 would be the file's position
		var read int
		read, err = f.preadv2(p[n:], off+int64(n))
		n += read
	}
	if err != nil || n == len(p) {
		return n, err
	}
	rest, err := f.file.ReadAt(p[n:], off+int64(n))
	return n + rest, err
}

// preadv2 makes one read, or finds out that none can be made in this way: an old
// kernel says ENOSYS or EINVAL, one that does not know the flag and a file
// system that cannot do it say EOPNOTSUPP.
func (f *File) preadv2(p []byte, off int64) (int, error) {
	n, err := unix.Preadv2(int(f.file.Fd()), [][]byte{p}, off, rwfDontCache)
	runtime.KeepAlive(f.file)
	switch {
	case errors.Is(err, unix.EINTR):
		return 0, nil
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		f.ordinary.Store(true)
		return 0, nil
	case err != nil:
		return 0, &os.PathError{Op: "read", Path: f.file.Name(), Err: err}
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

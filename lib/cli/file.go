package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"pgpipes/lib/durable"
	"pgpipes/lib/wait"
)

// A File is an opened file whose reads are watched. Some cannot seek.
type File struct {
	io.Reader
	io.Seeker
	io.Closer
}

// OpenFile opens a file that the user names for reading. It may be a pipe that
// nobody writes to, or lie in a file system that hangs.
func OpenFile(ctx context.Context, path string) (*File, error) {
	reading := wait.On(ctx, "reading "+path)
	reading.Begin()
	defer reading.End()
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &File{reading.Reader(struct{ io.Reader }{f}), f, f}, nil
}

// CreateFile begins a file that the user names for a result, which Replace gives its
// name. It is called before the work is done, so that a place where no file can be is
// found then. Nothing but a plain file is replaced.
func CreateFile(path string) (*durable.File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, Mistake(fmt.Errorf("%s: not a plain file", path))
	}
	f, err := durable.Create(path, 0o640)
	if err == nil {
		return f, nil
	}
	err = fmt.Errorf("%s: %w", path, err)
	for _, wrong := range []error{fs.ErrNotExist, fs.ErrPermission, unix.ENOTDIR, unix.EROFS} {
		if errors.Is(err, wrong) {
			return nil, Mistake(err)
		}
	}
	return nil, err
}

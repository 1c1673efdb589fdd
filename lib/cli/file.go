package cli

import (
	"context"
	"io"
	"os"

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

package archive

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"pgpipes/lib/durable"
	"pgpipes/lib/pagecache"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/wal"
)

// A Source is an opened WAL file. Close it.
type Source struct {
	Content
	io.Closer
}

// OpenSource opens a WAL file on disk. The server does not touch it while it
// wants it archived, so it may be read more than once.
func OpenSource(path string) (*Source, error) {
	// Without O_NONBLOCK a named pipe would be waited for, not refused.
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a plain file", path)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return &Source{Content{pagecache.Of(file), info.Size()}, file}, nil
}

// ReadSmall reads a plain file of a state directory, where anything may lie, of
// TextLimit bytes at most.
func ReadSmall(path string) ([]byte, error) {
	s, err := OpenSource(path)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.text()
}

// Spool keeps a WAL file that comes through a pipe in a file without a name in
// the directory for temporary files.
func Spool(r io.Reader) (*Source, error) {
	f, err := durable.Create(filepath.Join(os.TempDir(), "wal"), 0o600)
	if err != nil {
		return nil, err
	}
	limit := int64(wal.MaxSegmentSize) + 1
	size, err := io.CopyBuffer(struct{ io.Writer }{f}, io.LimitReader(r, limit), make([]byte, copyBuffer))
	if err == nil && size == limit {
		err = fmt.Errorf("standard input is longer than any WAL file")
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Source{Content{f, size}, f}, nil
}

// ClusterOf is the cluster that a pg_control file describes.
func ClusterOf(c pgdata.Control) Cluster {
	return Cluster{c.SystemID, c.Major(), c.SegmentSize}
}

// ClusterAt is the cluster whose data directory is pgdata, nil if it is none.
func ClusterAt(dir string) (*Cluster, error) {
	if _, err := os.Stat(filepath.Join(dir, "global/pg_control")); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	control, _, err := pgdata.ReadControl(dir)
	if err != nil {
		return nil, err
	}
	c := ClusterOf(control)
	return &c, nil
}

package store

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"

	"pgpipes/lib/wait"
)

// List implements Store. It reads one directory at a time, so memory is that
// of the largest directory.
func (d *Dir) List(ctx context.Context, prefix, after string) iter.Seq2[Info, error] {
	listing := wait.On(ctx, d.doing("listing", prefix))
	return walkKeys(ctx, prefix, after, func(at string) ([]entry, error) {
		listing.Begin()
		defer listing.End()
		return d.readDirectory(at, listing)
	})
}

// readDirectory reads one directory. One that is not there was removed
// meanwhile, or never was.
func (d *Dir) readDirectory(at string, listing *wait.Operation) ([]entry, error) {
	list, err := os.ReadDir(d.path(at))
	if errors.Is(err, fs.ErrNotExist) && at != "" {
		if _, err := os.ReadDir(d.root); err != nil {
			return nil, err // the store itself is not there
		}
		return nil, d.dangling(at)
	}
	if err != nil {
		return nil, err
	}
	for i, e := range list {
		list[i] = watchedEntry{e, listing}
	}
	return sorted(list, func(name string) (fs.FileInfo, error) { return os.Stat(d.path(at + name)) })
}

// A watchedEntry asks the file system, which may hang, for what is not in the
// directory itself.
type watchedEntry struct {
	fs.DirEntry
	listing *wait.Operation
}

func (e watchedEntry) Info() (fs.FileInfo, error) {
	e.listing.Begin()
	defer e.listing.End()
	return e.DirEntry.Info()
}

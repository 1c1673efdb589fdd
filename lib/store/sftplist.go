package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
)

// List implements Store. It reads one directory at a time, with the sizes and
// times in the same answer.
func (s *SFTP) List(ctx context.Context, prefix, after string) iter.Seq2[Info, error] {
	read := func(at string) (entries []entry, err error) {
		err = s.do(ctx, s.doing("listing", prefix), func(now *session) error {
			entries, err = s.readDirectory(ctx, now, at)
			return err
		})
		return entries, err
	}
	return walkKeys(ctx, prefix, after, read)
}

// readDirectory reads one directory. One that is not there was removed
// meanwhile, or never was.
func (s *SFTP) readDirectory(ctx context.Context, now *session, at string) ([]entry, error) {
	infos, err := now.readDir(ctx, s.path(at))
	if errors.Is(err, fs.ErrNotExist) && at != "" {
		if _, err := now.ReadDirContext(ctx, s.root); err != nil {
			return nil, named(s.location, err) // the store itself is not there
		}
		return nil, s.dangling(now, at)
	}
	if err != nil {
		return nil, err
	}
	list := make([]fs.DirEntry, len(infos))
	for i, info := range infos {
		list[i] = fs.FileInfoToDirEntry(info)
	}
	return sorted(list, func(name string) (fs.FileInfo, error) {
		info, err := now.Stat(s.path(at + name))
		if err != nil {
			return nil, named(s.path(at+name), err)
		}
		return info, nil
	})
}

// longestPath is what no path on Linux is longer than, in bytes (PATH_MAX).
const longestPath = 4096

// readDir reads a directory. Directories in directories come to an end.
func (s *session) readDir(ctx context.Context, dir string) ([]fs.FileInfo, error) {
	if len(dir) > longestPath {
		return nil, fmt.Errorf("%s…: directories within directories, without end", dir[:100])
	}
	infos, err := s.ReadDirContext(ctx, dir)
	if err != nil {
		return nil, named(dir, err)
	}
	return infos, nil
}

package store

import (
	"context"
	"errors"
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
	infos, err := now.ReadDirContext(ctx, s.path(at))
	if errors.Is(err, fs.ErrNotExist) && at != "" {
		if _, err := now.ReadDirContext(ctx, s.root); err != nil {
			return nil, named(s.location, err) // the store itself is not there
		}
		return nil, s.dangling(now, at)
	}
	if err != nil {
		return nil, named(s.path(at), err)
	}
	list := make([]fs.DirEntry, len(infos))
	for i, info := range infos {
		list[i] = fs.FileInfoToDirEntry(info)
	}
	return sorted(list, func(name string) (fs.FileInfo, error) { return now.Stat(s.path(at + name)) })
}

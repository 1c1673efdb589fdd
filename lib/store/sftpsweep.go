package store

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"
	"time"

	"pgpipes/lib/durable"
	"pgpipes/lib/wait"
)

// Sweep removes the temporary files of before a time, which uploads leave whose
// connection was lost.
func (s *SFTP) Sweep(ctx context.Context, before time.Time) error {
	return s.sweep(wait.WithWatch(ctx, nil), s.root, before)
}

func (s *SFTP) sweep(ctx context.Context, dir string, before time.Time) error {
	var below []string
	err := s.do(ctx, s.doing("sweeping", ""), func(now *session) error {
		below = nil
		entries, err := now.readDir(ctx, dir)
		if errors.Is(err, fs.ErrNotExist) && dir != s.root || isSystems(dir, err) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			mode := e.Mode()
			if mode&fs.ModeSymlink != 0 && CheckKey(e.Name()) == nil { // as in a list
				to, serr := now.Stat(path.Join(dir, e.Name()))
				if serr != nil {
					return named(path.Join(dir, e.Name()), serr)
				}
				if to.IsDir() {
					mode = fs.ModeDir
				}
			}
			switch {
			case mode.IsDir():
				below = append(below, path.Join(dir, e.Name()))
			case strings.HasPrefix(e.Name(), durable.TemporaryPrefix) && mode.IsRegular() && e.ModTime().Before(before):
				if rerr := now.Client.Remove(path.Join(dir, e.Name())); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
					err = errors.Join(err, named(path.Join(dir, e.Name()), rerr))
				}
			}
		}
		return err
	})
	for _, d := range below {
		if err == nil {
			err = s.sweep(ctx, d, before)
		}
	}
	return err
}

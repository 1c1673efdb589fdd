package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pgpipes/lib/durable"
	"pgpipes/lib/wait"
)

// Sweep removes the temporary files of before a time. Where the file system can
// keep files without a name there are none; elsewhere a crash leaves them, and
// nobody lists them. It follows the links that List does.
func (d *Dir) Sweep(ctx context.Context, before time.Time) error {
	defer wait.For(wait.WithWatch(ctx, nil), d.doing("sweeping", ""))()
	return sweep(ctx, d.root, before)
}

// sweep sweeps a directory, or where a link leads to one.
func sweep(ctx context.Context, dir string, before time.Time) error {
	return filepath.WalkDir(dir+"/", func(path string, e fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if errors.Is(err, fs.ErrNotExist) || isSystems(path, err) { // it went meanwhile, say
			return nil
		}
		if err == nil && e.Type()&fs.ModeSymlink != 0 && CheckKey(e.Name()) == nil {
			to, err := os.Stat(path)
			if err == nil && to.IsDir() {
				err = sweep(ctx, path, before)
			}
			return err
		}
		if err != nil || e.IsDir() || !strings.HasPrefix(e.Name(), durable.TemporaryPrefix) {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().IsRegular() && info.ModTime().Before(before) {
			err = os.Remove(path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

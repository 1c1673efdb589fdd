package store

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strings"

	"pgpipes/lib/wait"
)

// List implements Store. It reads one directory at a time, so memory is that
// of the largest directory.
func (d *Dir) List(ctx context.Context, prefix, after string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		listing := wait.On(ctx, d.doing("listing", prefix))
		w := walk{dir: d, ctx: ctx, prefix: prefix, after: after, yield: yield, listing: listing}
		top, _ := path.Split(prefix) // whole components of the prefix
		if top != "" {
			if err := CheckKey(strings.TrimSuffix(top, "/")); err != nil {
				yield(Info{}, err)
				return
			}
		}
		w.directory(top)
	}
}

type walk struct {
	dir           *Dir
	ctx           context.Context
	prefix, after string
	yield         func(Info, error) bool
	listing       *wait.Operation
}

// read reads one directory. One that is not there was removed meanwhile, or
// never was.
func (w *walk) read(at string) ([]entry, error) {
	w.listing.Begin()
	defer w.listing.End()
	list, err := os.ReadDir(w.dir.path(at))
	if errors.Is(err, fs.ErrNotExist) && at != "" {
		if _, err := os.ReadDir(w.dir.root); err != nil {
			return nil, err // the store itself is not there
		}
		return nil, w.dir.dangling(at)
	}
	if err != nil {
		return nil, err
	}
	return sorted(w.dir.path(at), list)
}

// directory walks the directory of a key prefix that ends in a slash or is
// empty, and reports whether to go on.
func (w *walk) directory(at string) bool {
	entries, err := w.read(at)
	if err == nil {
		err = w.ctx.Err()
	}
	if err != nil {
		w.yield(Info{}, err)
		return false
	}
	for _, e := range entries {
		if !w.entry(at+e.key, e) {
			return false
		}
	}
	return true
}

// An entry is a directory entry as the order of keys sees it: a directory,
// whose keys all have a slash after its name, has the slash in key.
type entry struct {
	fs.DirEntry
	key   string
	isDir bool
}

// sorted leaves out what is hidden and neither a directory nor a plain file.
// Links are followed: an administrator may keep the WAL on another disk. One
// that leads nowhere is an error, as that disk may not be mounted.
func sorted(dir string, list []fs.DirEntry) ([]entry, error) {
	entries := make([]entry, 0, len(list))
	for _, e := range list {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		mode := e.Type()
		if mode&fs.ModeSymlink != 0 {
			info, err := os.Stat(path.Join(dir, e.Name()))
			if err != nil {
				return nil, err
			}
			mode, e = info.Mode(), fs.FileInfoToDirEntry(info)
		}
		switch {
		case mode.IsDir():
			entries = append(entries, entry{e, e.Name() + "/", true})
		case mode.IsRegular():
			entries = append(entries, entry{e, e.Name(), false})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	return entries, nil
}

func (w *walk) entry(key string, e entry) bool {
	if e.isDir {
		return !w.wanted(key) || w.directory(key)
	}
	if !strings.HasPrefix(key, w.prefix) || key <= w.after {
		return true
	}
	w.listing.Begin()
	info, err := e.Info()
	w.listing.End()
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if err != nil {
		w.yield(Info{}, err)
		return false
	}
	return w.yield(Info{key, info.Size(), info.ModTime()}, nil)
}

// wanted reports whether keys below a directory can be part of the list.
func (w *walk) wanted(dir string) bool {
	inside := strings.HasPrefix(dir, w.prefix) || strings.HasPrefix(w.prefix, dir)
	passed := dir <= w.after && !strings.HasPrefix(w.after, dir)
	return inside && !passed
}

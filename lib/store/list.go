package store

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"
)

// walkKeys yields the objects in a tree of directories, in the order of their
// keys. read reads the directory of a key prefix that ends in a slash or is
// empty; what is not there has no entries.
func walkKeys(ctx context.Context, prefix, after string, read func(at string) ([]entry, error)) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		w := walk{ctx: ctx, prefix: prefix, after: after, yield: yield, read: read}
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
	ctx           context.Context
	prefix, after string
	yield         func(Info, error) bool
	read          func(at string) ([]entry, error)
}

// directory walks the directory of a key prefix that ends in a slash or is
// empty, and reports whether to go on.
func (w *walk) directory(at string) bool {
	entries, err := w.read(at)
	if isSystems(at, err) {
		err = nil
	}
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

// isSystems reports whether a directory cannot be read because it is the file system's
// own, as where a disk is mounted at a place of the repository: it has nothing of ours.
func isSystems(dir string, err error) bool {
	return path.Base(dir) == "lost+found" && errors.Is(err, fs.ErrPermission)
}

// An entry is a directory entry as the order of keys sees it: a directory,
// whose keys all have a slash after its name, has the slash in key.
type entry struct {
	fs.DirEntry
	key   string
	isDir bool
}

// sorted leaves out what can have no key, as what is hidden, and what is neither
// a directory nor a plain file.
// Links are followed: an administrator may keep the WAL on another disk. One
// that leads nowhere is an error, as that disk may not be mounted.
func sorted(list []fs.DirEntry, stat func(name string) (fs.FileInfo, error)) ([]entry, error) {
	entries := make([]entry, 0, len(list))
	for _, e := range list {
		if CheckKey(e.Name()) != nil {
			continue
		}
		mode := e.Type()
		if mode&fs.ModeSymlink != 0 {
			info, err := stat(e.Name())
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
	info, err := e.Info()
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

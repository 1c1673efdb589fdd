package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"pgpipes/lib/durable"
	"pgpipes/lib/wait"
)

// The umask may take from these, as archive_command's does (0077).
const (
	dirMode  = 0o750
	fileMode = 0o640
)

// rmdirRaces is how often a directory may go with its last object just when
// something is to be put into it.
const rmdirRaces = 10

// Dir is a store in a directory: a key is the path of a plain file.
type Dir struct{ root string }

func newDir(location string) (*Dir, error) {
	if location == "" {
		return nil, fmt.Errorf("%w: the empty text", ErrLocation)
	}
	root, err := filepath.Abs(location)
	if err != nil {
		return nil, err
	}
	return &Dir{root}, nil
}

// Root is the absolute path of the directory.
func (d *Dir) Root() string { return d.root }

// Made reports whether there is anything at the place of the directory.
func (d *Dir) Made(ctx context.Context) (bool, error) {
	defer wait.For(ctx, d.doing("looking at", ""))()
	_, err := os.Lstat(d.root)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (d *Dir) path(key string) string { return filepath.Join(d.root, key) }

// doing says what is being done, for somebody who waits for it.
func (d *Dir) doing(verb, key string) string {
	if key == "" {
		return verb + " " + d.root
	}
	return verb + " " + key + " in " + d.root
}

// Put implements Store. The directory itself is made for an object directly in
// it, its parent is not: that might be a mount point without its mount.
func (d *Dir) Put(ctx context.Context, key string, write func(io.Writer) error) (Receipt, error) {
	if err := CheckKey(key); err != nil {
		return Receipt{}, err
	}
	storing := wait.On(ctx, d.doing("storing", key))
	f, err := d.create(key, storing)
	for range rmdirRaces {
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		f, err = d.create(key, storing)
	}
	if err != nil {
		return Receipt{}, err
	}
	defer f.Close()
	sum := newSummer(f)
	if err := write(sum); err != nil {
		return Receipt{}, err
	}
	if err := ctx.Err(); err != nil {
		return Receipt{}, err
	}
	receipt := sum.receipt(key)
	err = d.asOwner(f.Publish)
	for range rmdirRaces {
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err = d.makeParents(key, storing); err == nil {
			err = d.asOwner(f.Publish)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return receipt, d.confirm(ctx, receipt)
	}
	return receipt, err
}

// create starts the file of a key, making the directories it needs.
func (d *Dir) create(key string, storing *wait.Operation) (watchedFile, error) {
	if err := d.makeParents(key, storing); err != nil {
		return watchedFile{}, err
	}
	storing.Begin()
	defer storing.End()
	var f *durable.File
	err := d.asOwner(func() (err error) {
		f, err = durable.Create(d.path(key), fileMode)
		return err
	})
	return watchedFile{f, storing}, err
}

// makeParents makes and syncs the directories above a key, from the root down.
func (d *Dir) makeParents(key string, storing *wait.Operation) error {
	storing.Begin()
	defer storing.End()
	// What is directly in the root identifies the place. When that has just
	// gone, other objects must not begin a new one, which nobody could use.
	if !strings.Contains(key, "/") {
		if err := durable.Mkdir(d.root, dirMode); err != nil {
			return ofRoot(err)
		}
	}
	for i, c := range key {
		if c == '/' {
			err := d.asOwner(func() error { return durable.Mkdir(d.path(key[:i]), dirMode) })
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// confirm succeeds when the object that is there already has the bytes that
// were offered, and is durable. Whoever stored it may have been killed before
// the sync.
func (d *Dir) confirm(ctx context.Context, offered Receipt) error {
	if err := compare(ctx, d, offered); err != nil {
		return err
	}
	return d.Sync(ctx, offered.Key)
}

// Sync makes an object that is there already durable.
func (d *Dir) Sync(ctx context.Context, key string) error {
	defer wait.For(ctx, d.doing("syncing", key))()
	return durable.SyncFile(d.path(key))
}

// Get implements Store.
func (d *Dir) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	reading := wait.On(ctx, d.doing("reading", key))
	reading.Begin()
	defer reading.End()
	// Without O_NONBLOCK a named pipe would be waited for, not refused.
	file, err := os.OpenFile(d.path(key), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, d.absent(key, err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a plain file", d.path(key))
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	if length < 0 {
		length = max(info.Size()-offset, 0)
	}
	return newBody(file, offset, length, reading), nil
}

// Stat implements Store.
func (d *Dir) Stat(ctx context.Context, key string) (Info, error) {
	if err := CheckKey(key); err != nil {
		return Info{}, err
	}
	defer wait.For(ctx, d.doing("looking for", key))()
	info, err := os.Stat(d.path(key))
	if err != nil {
		return Info{}, d.absent(key, err)
	}
	if !info.Mode().IsRegular() {
		return Info{}, fmt.Errorf("%s: %w", key, ErrNotExist)
	}
	return Info{key, info.Size(), info.ModTime()}, nil
}

// absent turns the system's "no such file" into ErrNotExist, but only while
// the root is a directory that can be read: one that has vanished is no
// evidence for anything.
func (d *Dir) absent(key string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	root, rerr := os.Open(d.root)
	if rerr != nil {
		return ofRoot(rerr)
	}
	defer root.Close()
	if _, rerr := root.Readdirnames(1); rerr != nil && rerr != io.EOF {
		return rerr
	}
	if derr := d.dangling(key); derr != nil {
		return derr
	}
	return fmt.Errorf("%s: %w", key, ErrNotExist)
}

// dangling is an error if a key's path is not there because a link on the way
// leads nowhere: to a disk that is not mounted, for example.
func (d *Dir) dangling(key string) error {
	for i, c := range key + "/" {
		if c != '/' {
			continue
		}
		if _, err := os.Lstat(d.path(key[:i])); err != nil {
			return nil
		}
		if _, err := os.Stat(d.path(key[:i])); err != nil {
			return err
		}
	}
	return nil
}

// Remove implements Store. A directory goes with its last object.
func (d *Dir) Remove(ctx context.Context, key string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	defer wait.For(ctx, d.doing("removing", key))()
	if err := os.Remove(d.path(key)); err != nil {
		return d.absent(key, err)
	}
	dir := filepath.Dir(d.path(key))
	for dir != d.root && len(dir) > len(d.root) && unix.Rmdir(dir) == nil {
		dir = filepath.Dir(dir)
	}
	err := durable.SyncDir(dir)
	for errors.Is(err, fs.ErrNotExist) && dir != d.root { // somebody else removed it
		dir = filepath.Dir(dir)
		err = durable.SyncDir(dir)
	}
	return err
}

// LockFile returns the path of the file that stands for the lock of that name, which
// is made if it is not there: by root with the rights of the owner.
func (d *Dir) LockFile(name string) (string, error) {
	key := "lock/" + name
	if err := CheckKey(key); err != nil || strings.Contains(name, "/") {
		return "", fmt.Errorf("%w: lock name %q", ErrKey, name)
	}
	path := d.path(key)
	if err := d.makeParents(key, nil); err != nil {
		return "", err
	}
	err := d.asOwner(func() error {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		if err == nil {
			f.Close()
		}
		return err
	})
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return path, err
}

package restore

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/stream"
)

// A sweep goes through what is in directories that were there already, and
// tells what the manifest lists from what must go. It follows no links.
type sweep struct {
	targets *targets
	index   *index
	version string // the directory in a tablespace that is this cluster's
	// file gets the files that the manifest lists.
	file func(t *target, name string, f *listed, info fs.FileInfo) error
	// stray gets all that must go; of a directory what is in it goes too.
	stray func(t *target, name string, info fs.FileInfo) error
}

// run goes through the tablespaces first: their links are in the data directory.
func (s *sweep) run(ctx context.Context) error {
	for _, t := range s.targets.all {
		if !t.inPlace {
			continue
		}
		if err := s.walk(ctx, t, "."); err != nil {
			return err
		}
	}
	return nil
}

func (s *sweep) walk(ctx context.Context, t *target, dir string) error {
	return t.list(dir, func(name string) error { return s.visit(ctx, t, name) })
}

// list calls visit for everything in a directory.
func (t *target) list(dir string, visit func(name string) error) error {
	f, err := t.root.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		names, err := f.Readdirnames(1000)
		for _, name := range names {
			if err := visit(path.Join(dir, name)); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *sweep) visit(ctx context.Context, t *target, name string) error {
	info, err := t.root.Lstat(name)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	f := s.index.find(t.member(name))
	isDir := f != nil && f.kind == manifest.Directory
	switch {
	case s.spares(t, name, f, info):
		return nil
	case isDir && info.IsDir():
		return errors.Join(t.noteSystem(info), s.walk(ctx, t, name))
	case f != nil && f.kind == manifest.File && info.Mode().IsRegular():
		return s.file(t, name, f, info)
	}
	return s.stray(t, name, info)
}

// spares says what stays without being looked at: the mark, what belongs to the
// file system or, in a tablespace, to others, and the links to tablespaces.
func (s *sweep) spares(t *target, name string, f *listed, info fs.FileInfo) bool {
	isTop := path.Dir(name) == "."
	switch {
	case isTop && name == t.mark:
		return true
	case isTop && name == "lost+found" && f == nil:
		return true
	case t.oid != 0:
		return isTop && f == nil && name != s.version
	}
	oid, inner, inTablespace := pgdata.SplitTablespace(name)
	return inTablespace && inner == "." && s.targets.spaces[oid] != nil && info.Mode()&fs.ModeSymlink != 0
}

// noteSystem notes whether a directory is of another file system than the
// target.
func (t *target) noteSystem(info fs.FileInfo) error {
	top, err := t.dir.Stat()
	if err == nil && deviceOf(top) != deviceOf(info) {
		t.spread = true
	}
	return err
}

// member is the path that the manifest has for what is in a target.
func (t *target) member(name string) string {
	if t.oid == 0 {
		return name
	}
	return path.Join(linkName(t.oid), name)
}

// versionDir is the name of the directory in a tablespace that is of the
// cluster in whose data directory this is.
func (t *target) versionDir() (string, error) {
	raw, err := t.root.ReadFile(stream.DeltaMark)
	if err != nil {
		return "", err
	}
	control, err := pgdata.ParseControl(raw)
	return pgdata.TablespaceVersionDir(control), err
}

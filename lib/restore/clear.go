package restore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"pgpipes/lib/manifest"
)

// clear removes what the manifest does not list, and the differing files of
// which nothing will be taken. From here on the data directory is neither as it
// was nor restored.
func (r *restorer) clear(ctx context.Context) error {
	s, err := r.newSweep()
	if err != nil {
		return err
	}
	s.file = func(*target, string, *listed, fs.FileInfo) error { return nil }
	s.stray = func(t *target, name string, info fs.FileInfo) error {
		if info.Mode()&fs.ModeSymlink != 0 && r.isDirectory(t.member(name)) {
			r.o.Warn("%s: was a link, and is a directory now", filepath.Join(t.path, name))
		}
		return t.root.RemoveAll(name)
	}
	r.targets.changed = true
	if err := r.clearDropped(s.version); err != nil {
		return err
	}
	return s.run(ctx)
}

func (r *restorer) isDirectory(path string) bool {
	f := r.plan.index.find(path)
	return f != nil && f.kind == manifest.Directory
}

// dropped calls do for the directory of this cluster in each tablespace that
// the data directory has and the backup does not. It has to go: replay would
// make it again and find old files in it. One that the backup has, and that is
// being moved, is left behind.
func (r *restorer) dropped(version string, do func(t *target, version string) error) error {
	for oid, path := range ownSpaces(r.targets.data.path) {
		if r.targets.spaces[oid] != nil || r.targets.uses(path) {
			continue
		}
		t := &target{path: path, oid: oid}
		err := t.openRoot()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && t.has(version) {
			if err = t.refuseLive(); err == nil {
				err = do(t, version)
			}
		}
		t.close()
		if err != nil {
			return err
		}
	}
	return nil
}

// uses reports whether a directory is that of a tablespace to be restored.
func (t *targets) uses(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	for _, one := range t.all {
		if one.root == nil {
			continue
		}
		if at, err := one.dir.Stat(); err == nil && os.SameFile(at, info) {
			return true
		}
	}
	return false
}

// checkDropped makes sure that they can be removed.
func (r *restorer) checkDropped(s *stock) error {
	return r.dropped(s.sweep.version, func(t *target, version string) error {
		info, err := t.root.Lstat(version)
		if err != nil {
			return err
		}
		return s.stray(t, version, info)
	})
}

func (r *restorer) clearDropped(version string) error {
	return r.dropped(version, func(t *target, version string) error {
		r.o.Warn("%s: the backup has no tablespace %d: removing what the cluster had there", t.path, t.oid)
		return t.root.RemoveAll(version)
	})
}

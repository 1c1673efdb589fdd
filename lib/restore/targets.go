package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pgpipes/lib/durable"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/stream"
)

// targets are all directories of one restore.
type targets struct {
	data    *target
	spaces  map[uint32]*target
	all     []*target // the tablespaces first, the data directory last
	cluster uint64    // of which a data directory may be there already; 0 if none may
	changed bool      // something of what was there is changed
}

// newTargets checks the places that were asked for, changing nothing.
func newTargets(data string, spaces map[uint32]string, cluster uint64) (*targets, error) {
	path, err := filepath.Abs(data)
	if err != nil || data == "" {
		return nil, badTarget("no data directory to restore to")
	}
	t := &targets{data: &target{path: path, mark: stream.DataMark}, spaces: map[uint32]*target{}, cluster: cluster}
	for oid, path := range spaces {
		if !filepath.IsAbs(path) {
			return nil, badTarget("%s: the place of tablespace %d must be an absolute path", path, oid)
		}
		t.spaces[oid] = &target{path: filepath.Clean(path), oid: oid, mark: stream.TablespaceMark}
		t.all = append(t.all, t.spaces[oid])
	}
	slices.SortFunc(t.all, func(a, b *target) int { return int(a.oid) - int(b.oid) })
	t.all = append(t.all, t.data)
	return t, t.open()
}

func (t *targets) open() error {
	for _, one := range slices.Backward(t.all) { // the data directory first
		err := one.open()
		if err == nil {
			err = t.look(one)
		}
		if err != nil {
			return err
		}
	}
	return t.checkNesting()
}

// look finds out whether a directory can be restored into.
func (t *targets) look(one *target) error {
	if taken, err := t.adopt(one); taken || err != nil {
		return err
	}
	return one.examine(t.ours(one))
}

// ours says of a directory whether what is in it can be told to be remains.
func (t *targets) ours(one *target) func() bool {
	return func() bool {
		if one == t.data {
			return one.marked()
		}
		return t.data.remains && t.data.links(one.path) && (one.marked() || t.data.isFilled())
	}
}

// checkNesting refuses a directory that is another one, or inside of it or of
// another cluster's, whose server could use it or copy it as its own.
func (t *targets) checkNesting() error {
	real := make([]string, len(t.all))
	for i, one := range t.all {
		path, err := realPath(one)
		if err != nil {
			return err
		}
		real[i] = path
	}
	for i, a := range real {
		for j, b := range real {
			if i == j {
				continue
			}
			if a == b {
				return badTarget("%s: given twice", t.all[i].path)
			}
			if strings.HasPrefix(a, strings.TrimSuffix(b, "/")+"/") {
				return badTarget("%s: inside %s", t.all[i].path, t.all[j].path)
			}
		}
		if cluster := clusterAround(a); cluster != "" && !t.all[i].inPlace {
			return badTarget("%s: inside the data directory %s", t.all[i].path, cluster)
		}
	}
	return nil
}

// clusterAround is the data directory that a path leads through, "" if it
// leads through none.
func clusterAround(path string) string {
	for dir := filepath.Dir(path); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Lstat(filepath.Join(dir, pgdata.ControlFile)); err == nil {
			return dir
		}
	}
	return ""
}

func realPath(t *target) (string, error) {
	if t.root != nil {
		return filepath.EvalSymlinks(t.path)
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(t.path))
	return filepath.Join(parent, filepath.Base(t.path)), err
}

// claim marks all directories and removes remains from them. The data
// directory comes first in locking and last in all else, so that what is left
// of a restore can be recognised all the time.
func (t *targets) claim(notice func(string, ...any)) error {
	for _, one := range slices.Backward(t.all) {
		if err := t.claimOne(one); err != nil {
			return err
		}
	}
	for _, one := range t.all {
		if one == t.data && one.inPlace {
			continue // its mark is pg_control
		}
		if err := one.explain(); err != nil {
			return err
		}
	}
	for _, one := range t.all {
		if !one.remains {
			continue
		}
		notice("%s: removing what a killed restore has left", one.path)
		if err := one.empty(); err != nil {
			return err
		}
	}
	return nil
}

func (t *targets) claimOne(one *target) error {
	if one == t.data && one.inPlace {
		return one.seize(t.cluster)
	}
	return one.claim(t.ours(one))
}

// link makes the links to the tablespaces, absolute ones: with a relative one
// the server would leave the tablespace out of its own base backups
// (basebackup.c:sendTablespace).
func (t *targets) link() error {
	if len(t.spaces) == 0 {
		return nil
	}
	err := t.data.root.Mkdir(pgdata.TablespaceDir, 0o700)
	if err != nil && !(t.data.inPlace && errors.Is(err, fs.ErrExist)) {
		return err
	}
	for oid, space := range t.spaces {
		if err := t.data.linkTo(oid, space.path); err != nil {
			return err
		}
	}
	if err := t.data.syncName(pgdata.TablespaceDir); err != nil {
		return err
	}
	return durable.SyncOpenDir(t.data.dir)
}

// linkTo makes the link to a tablespace, in place of what is there.
func (t *target) linkTo(oid uint32, path string) error {
	name := linkName(oid)
	if at, err := t.root.Readlink(name); err == nil && at == path {
		return nil
	}
	if err := t.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return t.root.Symlink(path, name)
}

// unclaim leaves all directories as they were found, but for a data directory
// of which something is changed.
func (t *targets) unclaim(warn func(string, ...any)) error {
	if t.changed {
		warn("%s: neither as it was nor restored, and no server can start in it; the same command goes on", t.data.path)
		return nil
	}
	var failed error
	for _, one := range t.all {
		if err := one.unclaim(); err != nil {
			failed = join(fmt.Errorf("%s: could not be emptied again: %w", one.path, err), failed)
		}
	}
	return failed
}

func (t *targets) close() {
	for _, one := range t.all {
		one.close()
	}
}

// find says where a member goes: into which directory and under which name.
func (t *targets) find(name string) (*target, string) {
	oid, inner, ok := pgdata.SplitTablespace(name)
	if space := t.spaces[oid]; ok && space != nil {
		return space, inner
	}
	return t.data, name
}

// join is errors.Join that keeps a single error, with its hint, as it is.
func join(first, second error) error {
	if second == nil {
		return first
	}
	return errors.Join(first, second)
}

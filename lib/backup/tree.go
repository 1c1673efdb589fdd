package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"

	"pgpipes/lib/pgdata"
	"pgpipes/lib/stream"
	"pgpipes/lib/wait"
	"pgpipes/lib/wal"
)

// needed are directories without which a data directory is none. All else may
// vanish while it is copied.
var needed = map[string]bool{".": true, "base": true, "global": true, pgdata.TablespaceDir: true}

// A tree is a live data directory that is being copied. What workers change of
// it is safe for several of them.
type tree struct {
	root     string // absolute, without links
	control  pgdata.Control
	warn     func(format string, args ...any)
	owner    owner             // of the data directory
	owned    string            // by whom that is, by name
	endMode  fs.FileMode       // of files that are made here
	spaces   map[uint32]string // the tablespaces outside, by OID, where they really are
	inside   map[string]bool   // tablespaces that lie inside the data directory, not to be copied twice
	start    wal.LSN
	follow   bool      // copy what links lead to
	ancestor *ancestor // nil if all is to be copied
	pace     *wait.Pace
	bad      *badPages
}

// newTree looks at the tablespaces of a data directory. It must be called before
// the backup begins: the server notes the tablespaces when that happens, and
// checkTablespaces compares.
func newTree(data string, control pgdata.Control, warn func(string, ...any)) (*tree, error) {
	root, err := filepath.EvalSymlinks(data)
	if err == nil {
		root, err = filepath.Abs(root)
	}
	if err != nil {
		return nil, err
	}
	t := &tree{
		root: root, control: control, warn: warn, spaces: map[uint32]string{}, inside: map[string]bool{},
		pace: wait.NewPace(0, nil), bad: &badPages{warn: warn},
	}
	if _, err := os.Stat(t.path("PG_VERSION")); err != nil {
		return nil, err
	}
	info, err := os.Stat(root)
	if err != nil {
		return nil, err
	}
	t.owner = ownerOf(info)
	t.owned = owners{}.name(t.owner)
	t.endMode = endMode(info.Mode())
	return t, t.findTablespaces()
}

func (t *tree) path(name string) string { return filepath.Join(t.root, name) }

func (t *tree) findTablespaces() error {
	list, err := os.ReadDir(t.path(pgdata.TablespaceDir))
	if err != nil {
		return err
	}
	for _, e := range list {
		oid, err := strconv.ParseUint(e.Name(), 10, 32)
		if err != nil || e.Type()&fs.ModeSymlink == 0 {
			continue
		}
		at, err := filepath.EvalSymlinks(t.path(path.Join(pgdata.TablespaceDir, e.Name())))
		if err != nil {
			return fmt.Errorf("tablespace %d: %w", oid, err)
		}
		t.spaces[uint32(oid)] = at
		if rel, err := filepath.Rel(t.root, at); err == nil && filepath.IsLocal(rel) {
			t.inside[rel] = true
		}
	}
	return nil
}

// checkTablespaces compares what was copied with what the server will look for
// in the copy.
func (t *tree) checkTablespaces(noted []pgdata.Tablespace) error {
	for _, s := range noted {
		if _, copied := t.spaces[s.OID]; !copied {
			return fmt.Errorf("tablespace %d was created while the backup began: take the backup again", s.OID)
		}
	}
	if len(noted) != len(t.spaces) {
		return fmt.Errorf("a tablespace was dropped while the backup began: take the backup again")
	}
	return nil
}

// copyTo has a worker write everything but the end members into its sink.
func (t *tree) copyTo(ctx context.Context, w *worker) error {
	for _, name := range t.first() {
		if err := w.directory(name); err != nil {
			return err
		}
	}
	return t.walk(ctx, ".", func(name string, info fs.FileInfo) error {
		switch {
		case !info.IsDir():
			return w.file(ctx, name)
		case t.isFirst(name):
			return nil // done
		}
		return w.directory(name)
	})
}

// first are the directories that a stream begins with: those of the tablespaces
// are among them, so that a reader knows about them at once.
func (t *tree) first() []string {
	list := []string{".", pgdata.TablespaceDir}
	for _, oid := range slices.Sorted(maps.Keys(t.spaces)) {
		list = append(list, path.Join(pgdata.TablespaceDir, strconv.Itoa(int(oid))))
	}
	return list
}

func (t *tree) isFirst(name string) bool {
	return name == "." || name == pgdata.TablespaceDir || t.isTablespace(name)
}

// size adds up what there is to copy.
func (t *tree) size(ctx context.Context) (total int64, err error) {
	quiet := *t
	quiet.warn = func(string, ...any) {}
	err = quiet.walk(ctx, ".", func(_ string, info fs.FileInfo) error {
		if !info.IsDir() {
			total += info.Size()
		}
		return nil
	})
	return total, err
}

// vanished excuses what a running server may remove.
func (t *tree) vanished(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) && !needed[name] && !t.isTablespace(path.Dir(name)) && !t.isTablespace(name) {
		return nil
	}
	return err
}

// isTablespace reports whether name is pg_tblspc/<oid> of a tablespace outside.
func (t *tree) isTablespace(name string) bool {
	if path.Dir(name) != pgdata.TablespaceDir {
		return false
	}
	oid, err := strconv.ParseUint(path.Base(name), 10, 32)
	_, found := t.spaces[uint32(oid)]
	return err == nil && found
}

// walk calls visit for everything in a directory that belongs into the copy,
// directories before what is in them.
func (t *tree) walk(ctx context.Context, dir string, visit func(name string, info fs.FileInfo) error) error {
	done := wait.For(ctx, "listing "+t.path(dir))
	list, err := os.ReadDir(t.path(dir))
	done()
	if err != nil {
		return t.vanished(dir, err)
	}
	if t.isTablespace(dir) {
		if err := t.checkVersionDir(dir, list); err != nil {
			return err
		}
	}
	// While files are renamed a name may be listed twice.
	list = slices.CompactFunc(list, func(a, b fs.DirEntry) bool { return a.Name() == b.Name() })
	unlogged := t.unlogged(dir, list)
	for _, e := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := path.Join(dir, e.Name())
		if unlogged.Drops(e.Name()) || t.inside[name] {
			continue
		}
		if err := t.visit(ctx, name, e, visit); err != nil {
			return err
		}
	}
	return nil
}

// checkVersionDir refuses a tablespace without this cluster's directory: it is
// not mounted, or gone. The server's own backup would take it for empty.
func (t *tree) checkVersionDir(dir string, list []fs.DirEntry) error {
	version := pgdata.TablespaceVersionDir(t.control)
	for _, e := range list {
		if e.Name() == version {
			return nil
		}
	}
	return fmt.Errorf("tablespace %s: no directory %s in it: is it mounted?", t.path(dir), version)
}

func (t *tree) unlogged(dir string, list []fs.DirEntry) pgdata.Unlogged {
	if !pgdata.RelationDir(dir) {
		return nil
	}
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = e.Name()
	}
	return pgdata.FindUnlogged(names)
}

func (t *tree) visit(ctx context.Context, name string, e fs.DirEntry, visit func(string, fs.FileInfo) error) error {
	info, err := t.look(name, e)
	if err != nil {
		return t.vanished(name, err)
	}
	if path.Dir(path.Dir(name)) == pgdata.TablespaceDir && path.Base(name) != pgdata.TablespaceVersionDir(t.control) {
		return nil // of another cluster
	}
	action := pgdata.Classify(name, info.IsDir())
	switch {
	case action == pgdata.Skip || name == pgdata.ControlFile:
		return nil
	case stream.IsMark(path.Base(name)): // with which nobody could restore the copy
		t.warn("%s: left out: it is the mark of a restore", t.path(name))
		return nil
	case info.IsDir():
		if err := visit(name, info); err != nil || action == pgdata.EmptyDir {
			return err
		}
		return t.walk(ctx, name, visit)
	case info.Mode().IsRegular():
		return visit(name, info)
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		if what := t.linked(name); what != "" {
			return fmt.Errorf("%s: %s of the cluster %w", t.path(name), what, ErrLinked)
		}
	}
	if !tablespaceLink(name) { // one made since the beginning comes with the WAL
		t.warn("%s: left out: it is %s", t.path(name), kindOf(info.Mode()))
	}
	return nil
}

// linked says what would be lost if a link were left out, "" if it may be: what is
// not the server's own, and single files at the top, such as a configuration that
// is kept elsewhere.
func (t *tree) linked(name string) string {
	at, err := os.Stat(t.path(name))
	isDir := err == nil && at.IsDir()
	switch {
	case isDir && (path.Dir(name) == "." || pgdata.Essential(name)):
		return "a directory"
	case pgdata.Essential(name):
		return "a part"
	}
	return ""
}

func tablespaceLink(name string) bool {
	_, inner, ok := pgdata.SplitTablespace(name)
	return ok && inner == "."
}

// look describes a directory entry. Links are followed where the server makes or
// expects them: tablespaces, pg_wal, and directories whose content is dropped;
// others if that was asked for and they lead anywhere.
func (t *tree) look(name string, e fs.DirEntry) (fs.FileInfo, error) {
	if e.Type()&fs.ModeSymlink != 0 {
		if t.isTablespace(name) || name == pgdata.WALDir || pgdata.Classify(name, true) == pgdata.EmptyDir {
			return os.Stat(t.path(name))
		}
		if t.follow && !tablespaceLink(name) {
			return t.behind(name)
		}
	}
	return e.Info()
}

// behind describes what a link leads to. One that leads nowhere is described as
// a link, and one to a directory above itself is an error.
func (t *tree) behind(name string) (fs.FileInfo, error) {
	info, err := os.Stat(t.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return os.Lstat(t.path(name))
	}
	if err != nil || !info.IsDir() {
		return info, err
	}
	for above := path.Dir(name); ; above = path.Dir(above) {
		if dir, err := os.Stat(t.path(above)); err == nil && os.SameFile(dir, info) {
			return nil, fmt.Errorf("%s: a link to a directory that it lies in", t.path(name))
		}
		if above == "." {
			return info, nil
		}
	}
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	}
	return "neither a file nor a directory"
}

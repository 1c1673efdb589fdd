package base

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/wait"
	"pgpipes/lib/wal"
)

const tablespaceDir = "pg_tblspc"

// needed are directories without which a data directory is none. All else may
// vanish while it is copied.
var needed = map[string]bool{".": true, "base": true, "global": true, tablespaceDir: true}

// A tree is a live data directory that is being copied.
type tree struct {
	root    string // absolute, without links
	control pgdata.Control
	warn    func(format string, args ...any)
	owner   owner // of the data directory
	owners  owners
	spaces  map[uint32]string // the tablespaces outside, by OID, where they really are
	inside  map[string]bool   // tablespaces that lie inside the data directory, not to be copied twice
	start   wal.LSN
	bad     []manifest.BadPage // the first recordedBad of them
	badAll  int
	done    int64 // bytes
	report  func(done int64)
	buffer  []byte
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
		root: root, control: control, warn: warn, spaces: map[uint32]string{},
		inside: map[string]bool{}, owners: owners{}, report: func(int64) {}, buffer: make([]byte, readSize),
	}
	if _, err := os.Stat(t.path("PG_VERSION")); err != nil {
		return nil, err
	}
	info, err := os.Stat(root)
	if err != nil {
		return nil, err
	}
	t.owner = ownerOf(info)
	return t, t.findTablespaces()
}

func (t *tree) path(name string) string { return filepath.Join(t.root, name) }

func (t *tree) findTablespaces() error {
	list, err := os.ReadDir(t.path(tablespaceDir))
	if err != nil {
		return err
	}
	for _, e := range list {
		oid, err := strconv.ParseUint(e.Name(), 10, 32)
		if err != nil || e.Type()&fs.ModeSymlink == 0 {
			continue
		}
		at, err := filepath.EvalSymlinks(t.path(path.Join(tablespaceDir, e.Name())))
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

// copyTo writes everything but the end members to the sink. The directories of
// the tablespaces come first, so that a reader knows about them at once.
func (t *tree) copyTo(ctx context.Context, s *sink, start wal.LSN, progress func(done, total int64)) error {
	t.start = start
	if progress != nil {
		total, err := t.size(ctx)
		if err != nil {
			return err
		}
		t.report = func(done int64) { progress(done, total) }
	}
	for _, name := range []string{".", tablespaceDir} {
		if err := t.directory(s, name); err != nil {
			return err
		}
	}
	for _, oid := range slices.Sorted(maps.Keys(t.spaces)) {
		if err := t.directory(s, path.Join(tablespaceDir, strconv.Itoa(int(oid)))); err != nil {
			return err
		}
	}
	return t.walk(ctx, ".", func(name string, info fs.FileInfo) error {
		if !info.IsDir() {
			return t.file(ctx, s, name)
		}
		if name == tablespaceDir || t.isTablespace(name) {
			return nil // done
		}
		return t.directory(s, name)
	})
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

func (t *tree) directory(s *sink, name string) error {
	info, err := os.Stat(t.path(name))
	if err != nil {
		return t.vanished(name, err)
	}
	return s.addDirectory(t.member(name, info))
}

func (t *tree) member(name string, info fs.FileInfo) Member {
	o := ownerOf(info)
	e := manifest.Entry{
		Path: name, Mode: permissions(info.Mode()), Owner: t.owners.name(o), Size: info.Size(), MTime: info.ModTime(),
	}
	return Member{Entry: e, UID: int(o.uid), GID: int(o.gid)}
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
	if path.Dir(name) != tablespaceDir {
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
	if path.Dir(path.Dir(name)) == tablespaceDir && path.Base(name) != pgdata.TablespaceVersionDir(t.control) {
		return nil // of another cluster
	}
	action := pgdata.Classify(name, info.IsDir())
	switch {
	case action == pgdata.Skip || name == pgdata.ControlFile:
		return nil
	case info.IsDir():
		if err := visit(name, info); err != nil || action == pgdata.EmptyDir {
			return err
		}
		return t.walk(ctx, name, visit)
	case info.Mode().IsRegular():
		return visit(name, info)
	}
	if at, err := os.Stat(t.path(name)); err == nil && at.IsDir() && path.Dir(name) == "." && info.Mode()&fs.ModeSymlink != 0 {
		return fmt.Errorf("%s: a directory of the cluster behind a link, which is not supported", t.path(name))
	}
	if !tablespaceLink(name) { // one made since the beginning comes with the WAL
		t.warn("%s: left out: it is %s", t.path(name), kindOf(info.Mode()))
	}
	return nil
}

func tablespaceLink(name string) bool {
	_, inner, ok := splitTablespace(name)
	return ok && inner == "."
}

// look describes a directory entry. Links are followed where the server makes or
// expects them: tablespaces, pg_wal, and directories whose content is dropped.
func (t *tree) look(name string, e fs.DirEntry) (fs.FileInfo, error) {
	if e.Type()&fs.ModeSymlink != 0 {
		if t.isTablespace(name) || name == "pg_wal" || pgdata.Classify(name, true) == pgdata.EmptyDir {
			return os.Stat(t.path(name))
		}
	}
	return e.Info()
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

// relation says which block of which relation a file begins with, if it has page
// checksums.
func (t *tree) relation(name string) (first uint32, checked bool) {
	if !t.control.Checksums || !pgdata.RelationDir(path.Dir(name)) {
		return 0, false
	}
	r, ok := pgdata.ParseRelation(path.Base(name))
	at := uint64(r.Segment) * uint64(t.control.RelationSegmentBlocks)
	return uint32(at), ok && at <= math.MaxUint32
}

package restore

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"pgpipes/lib/durable"
	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
)

// allocation is the unit in which file systems give room to files, and to
// directories.
const allocation = 4096

// plan is what a manifest says of a restore before it begins. The manifest is
// read several times: at the beginning to know that it is whole and what is
// needed where, at the end to compare.
type plan struct {
	source    io.ReadSeeker
	spool     *durable.File // holds the manifest, if it came from a pipe
	header    manifest.Header
	selection *selection
	index     *index           // nil if one stream is taken as it comes
	room      map[uint32]int64 // bytes, by tablespace; 0 is the data directory
	total     int64            // bytes of the files that are wanted
}

func newPlan(o *Options) (*plan, error) {
	p := &plan{room: map[uint32]int64{}}
	err := p.rewindable(o.Manifest)
	if err == nil {
		err = p.read(o)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// rewindable keeps a manifest that can be read only once in a file without a
// name.
func (p *plan) rewindable(r io.Reader) error {
	if s, ok := r.(io.ReadSeeker); ok {
		if _, err := s.Seek(0, io.SeekStart); err == nil {
			p.source = s
			return nil
		}
	}
	f, err := durable.Create(filepath.Join(os.TempDir(), "manifest"), 0o600)
	if err != nil {
		return err
	}
	p.spool = f
	_, err = io.Copy(f, r)
	p.source = io.NewSectionReader(f, 0, f.Size())
	return err
}

func (p *plan) close() {
	if p != nil && p.spool != nil {
		p.spool.Close()
	}
}

// reader reads the manifest from its beginning.
func (p *plan) reader() (*manifest.Reader, error) {
	if _, err := p.source.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return manifest.NewReader(p.source)
}

// each calls do for every entry of the manifest.
func (p *plan) each(do func(manifest.Entry) error) error {
	m, err := p.reader()
	if err != nil {
		return err
	}
	return manifest.Each(m, do)
}

// read proves that the manifest is whole, adds up what is wanted, and makes the
// index if more is to be done than to take a stream as it comes.
func (p *plan) read(o *Options) error {
	m, err := p.reader()
	if err != nil {
		return err
	}
	p.header = m.Header()
	if p.selection, err = newSelection(p.header, o.Databases); err != nil {
		return err
	}
	var making *indexing
	if o.picks() {
		making = newIndexing(p.header.Parts)
	}
	if err := manifest.Each(m, func(e manifest.Entry) error { return p.add(making, e) }); err != nil {
		return err
	}
	if making != nil {
		if p.index, err = making.finish(); err != nil {
			return err
		}
		if err := p.checkIndex(o); err != nil {
			return err
		}
	}
	return p.selection.check()
}

func (p *plan) add(making *indexing, e manifest.Entry) error {
	at := awaited
	if p.excludes(e.Path) && e.Kind == manifest.File {
		at = excluded
	} else {
		p.total += e.Size
		p.room[p.spaceOf(e.Path)] += allocated(e.Size)
	}
	if making == nil {
		return nil
	}
	making.add(e, at)
	return nil
}

// checkIndex refuses a manifest that cannot be gone by: what is missing would
// be noticed when much is written, or destroyed, already.
func (p *plan) checkIndex(o *Options) error {
	for _, name := range []string{pgdata.LabelFile, pgdata.ControlFile} {
		if f := p.index.find(name); f == nil || f.kind != manifest.File {
			return badTarget("no %s in the manifest: it is not that of a whole backup", name)
		}
	}
	if o.Source.Text != "" && p.index.nowhere != "" {
		return badTarget("%s: the manifest does not say in which part it is", manifest.Escape(p.index.nowhere))
	}
	return nil
}

// excludes holds for files that are not wanted.
func (p *plan) excludes(name string) bool { return p.selection.excludes(name) }

// spaceOf is the tablespace outside the data directory that a path belongs to,
// otherwise 0.
func (p *plan) spaceOf(name string) uint32 {
	oid, _, _ := pgdata.SplitTablespace(name)
	for _, s := range p.header.Tablespaces {
		if s.OID == oid {
			return oid
		}
	}
	return 0
}

// allocated is how many bytes of a file system a file takes.
func allocated(size int64) int64 {
	return max(allocation, (size+allocation-1)/allocation*allocation)
}

// roomError says that a file system is too small.
type roomError struct {
	dir        string
	need, free int64
}

func (e roomError) Error() string {
	return fmt.Sprintf("%s: no room: %d bytes are needed, %d are free", e.dir, e.need, e.free)
}

// checkRoom tells how much room is needed on each file system, and fails if
// one has less.
func (t *targets) checkRoom(p *plan, tell func(dir string, need, free int64)) error {
	need := map[uint64]int64{} // by device
	devices := make([]uint64, len(t.all))
	for i, one := range t.all {
		var s unix.Stat_t
		if err := unix.Fstat(int(one.dir.Fd()), &s); err != nil {
			return err
		}
		devices[i] = s.Dev
		need[s.Dev] += p.room[one.oid]
	}
	for i, one := range slices.Backward(t.all) { // the data directory first
		bytes, open := need[devices[i]]
		if !open {
			continue
		}
		delete(need, devices[i])
		free, err := freeRoom(one.dir)
		if err != nil {
			return err
		}
		bytes = max(bytes, 0) // more may be given back than is needed
		tell(one.path, bytes, free)
		if bytes > free {
			return roomError{one.path, bytes, free}
		}
	}
	return nil
}

// freeRoom is how much an ordinary user can write.
func freeRoom(dir *os.File) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * s.Frsize, nil
}

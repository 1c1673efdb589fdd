package base

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"pgpipes/lib/durable"
	"pgpipes/lib/manifest"
)

// allocation is the unit in which file systems give room to files, and to
// directories.
const allocation = 4096

// plan is what a manifest says of a restore before it begins. The manifest is
// read twice: at the beginning to know that it is whole and how much room is
// needed where, at the end to compare.
type plan struct {
	source io.ReadSeeker
	spool  *durable.File // holds the manifest, if it came from a pipe
	header manifest.Header
	room   map[uint32]int64 // bytes, by tablespace; 0 is the data directory
}

func newPlan(r io.Reader) (*plan, error) {
	p := &plan{room: map[uint32]int64{}}
	if err := p.rewindable(r); err != nil {
		p.close()
		return nil, err
	}
	if err := p.read(); err != nil {
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

func (p *plan) read() error {
	m, err := p.reader()
	if err != nil {
		return err
	}
	p.header = m.Header()
	outside := map[uint32]bool{}
	for _, s := range p.header.Tablespaces {
		outside[s.OID] = true
	}
	for {
		e, err := m.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		oid, _, _ := splitTablespace(e.Path)
		if !outside[oid] {
			oid = 0
		}
		p.room[oid] += max(allocation, (e.Size+allocation-1)/allocation*allocation)
	}
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

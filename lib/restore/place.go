package restore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/stream"
)

// place makes the place for a member.
func (r *restorer) place(m stream.Member) (io.WriteCloser, error) {
	if r.lacksPlace(m) {
		return stream.Nowhere{}, nil
	}
	if len(r.missing) > 0 {
		return nil, needPlaces(r.missing)
	}
	t, name := r.targets.find(m.Path)
	switch {
	case m.Kind == manifest.Link && t == r.targets.data:
		return nil, stream.Bad("%s: a tablespace that the manifest does not know", m.Path)
	case m.Kind == manifest.Link:
		return stream.Nowhere{}, nil
	case m.Kind == manifest.Directory:
		return stream.Nowhere{}, r.makeDirectory(t, name, m)
	}
	switch m.Path {
	case pgdata.ControlFile: // not before the end
		r.control = m
		return stream.Nowhere{}, nil
	case pgdata.TablespaceMapFile: // may have to be changed
		r.spaceMap = m
		return stream.Nowhere{}, nil
	case pgdata.ManifestFile:
		r.server = m
	}
	return r.makeFile(t, name, m, os.O_EXCL)
}

// lacksPlace notes tablespaces nobody has given a place for. Their directories
// come first in a stream of base-copy's, so that all of them can be named.
func (r *restorer) lacksPlace(m stream.Member) bool {
	oid, inner, ok := pgdata.SplitTablespace(m.Path)
	if !ok || r.plan != nil || r.targets.spaces[oid] != nil {
		return false
	}
	if inner == "." {
		r.missing = append(r.missing, oid)
	}
	return inner == "."
}

func (r *restorer) makeDirectory(t *target, name string, m stream.Member) error {
	if m.Path == "global" {
		r.global = m
	}
	if name == "." {
		t.top = &m
		if t == r.targets.data {
			return nil
		}
		return r.ids.chown(r.targets.data, m.Path, &m) // the link
	}
	err := t.root.Mkdir(name, 0o700)
	if errors.Is(err, fs.ErrExist) && m.Path == pgdata.TablespaceDir {
		err = nil // made for the links
	}
	if err != nil {
		return explain(m, err)
	}
	return r.ids.chown(t, name, &m)
}

// explain finds words for errors that are the stream's fault.
func explain(m stream.Member, err error) error {
	switch {
	case errors.Is(err, fs.ErrExist):
		return stream.Bad("%s: comes twice", manifest.Escape(m.Path))
	case errors.Is(err, fs.ErrNotExist):
		return stream.Bad("%s: comes before its directory", manifest.Escape(m.Path))
	case errors.Is(err, unix.ENOTDIR):
		return stream.Bad("%s: below something that is not a directory", manifest.Escape(m.Path))
	}
	return fmt.Errorf("%s: %w", manifest.Escape(m.Path), err)
}

// placed is a file that gets its owner, mode and time when it is closed.
type placed struct {
	*os.File
	restorer *restorer
	member   *stream.Member
	written  int64
	started  int64      // bytes whose way to the disk has been begun
	starting sync.Mutex // held while it is
}

// writeback is how many bytes are gathered before their way to the disk begins.
const writeback = 8 << 20

// Write has the disk begin at once: otherwise all would be left to the sync at
// the end. Whether it arrives is for that sync to say.
func (p *placed) Write(b []byte) (int, error) {
	n, err := p.File.Write(b)
	p.written += int64(n)
	if p.written-p.started >= writeback && p.starting.TryLock() {
		from, size := p.started, p.written-p.started
		p.started = p.written
		go func() { // it finds room on the disk, and may wait for it
			defer p.starting.Unlock()
			_ = unix.SyncFileRange(int(p.Fd()), from, size, unix.SYNC_FILE_RANGE_WRITE)
		}()
	}
	return n, err
}

func (r *restorer) makeFile(t *target, name string, m stream.Member, flag int) (io.WriteCloser, error) {
	f, err := t.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|flag, 0o600)
	if errors.Is(err, fs.ErrExist) && r.o.picks() {
		// What differs, or is of a failed try. It is not written to: it may have
		// other names.
		if err = t.root.Remove(name); err == nil {
			f, err = t.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|flag, 0o600)
		}
	}
	if err != nil {
		return nil, explain(m, err)
	}
	return &placed{File: f, restorer: r, member: &m}, nil
}

func (p *placed) Close() error {
	p.starting.Lock() // the file must be open until then
	err := p.restorer.dressFile(p.File, p.member)
	if cerr := p.File.Close(); err == nil {
		err = cerr
	}
	return err
}

// dressFile gives an open file its owner, mode and time. The owner comes
// first, as changing it takes special bits from the mode.
func (r *restorer) dressFile(f *os.File, m *stream.Member) error {
	if err := r.ids.chownFile(f, m); err != nil {
		return err
	}
	if err := f.Chmod(stream.FileMode(m.Mode)); err != nil {
		return err
	}
	at := unix.NsecToTimeval(m.MTime.UnixNano())
	if err := unix.Futimes(int(f.Fd()), []unix.Timeval{at, at}); err != nil {
		return fmt.Errorf("%s: time: %w", f.Name(), err)
	}
	return nil
}

// dress gives a directory its mode and time.
func (t *target) dress(name string, mode fs.FileMode, at time.Time) error {
	if err := t.root.Chmod(name, stream.FileMode(mode)); err != nil {
		return err
	}
	return t.root.Chtimes(name, at, at)
}

// writeFile writes a small file, or replaces what is in it.
func (r *restorer) writeFile(m stream.Member, write func(io.Writer) error) error {
	t, name := r.targets.find(m.Path)
	flag := os.O_TRUNC
	if r.o.picks() {
		flag = os.O_EXCL
	}
	w, err := r.makeFile(t, name, m, flag)
	if err != nil {
		return err
	}
	err = write(w)
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	return err
}

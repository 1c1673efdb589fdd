package slowfs

import (
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// requests is the mirrored directory in its weather.
type requests struct {
	fuse.RawFileSystem
	fs *FS

	mu     sync.Mutex
	listed map[uint64]time.Time // when a directory was last read
	paid   map[uint64]bool      // files that were just looked at, so that opening them is free
}

// freshness is how long a list tells what the files in it are like.
const freshness = time.Second

func newRequests(mirror fuse.RawFileSystem, f *FS) *requests {
	return &requests{RawFileSystem: mirror, fs: f, listed: map[uint64]time.Time{}, paid: map[uint64]bool{}}
}

// Lookup is free for directories, which are only passed through, and for files
// that a list has told of.
func (r *requests) Lookup(cancel <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if status := r.fs.reach(cancel); status != fuse.OK {
		return status
	}
	found := r.RawFileSystem.Lookup(cancel, header, name, out)
	if found == fuse.OK && (out.IsDir() || r.tells(header.NodeId)) {
		return found
	}
	status := r.fs.trip(cancel)
	switch {
	case status == fuse.OK && found == fuse.OK:
		r.pay(out.NodeId)
	case status == fuse.OK:
		return found
	case found == fuse.OK: // the kernel will not know of it
		r.Forget(out.NodeId, 1)
	}
	return status
}

// tells reports whether a directory was just read.
func (r *requests) tells(directory uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.listed[directory]) < freshness
}

func (r *requests) pay(file uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paid[file] = true
}

func (r *requests) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	return first(r.fs.room(r.fs.trip(cancel)), func() fuse.Status { return r.RawFileSystem.Create(cancel, in, name, out) })
}

// Tmpfile is refused for good.
func (r *requests) Tmpfile(<-chan struct{}, *fuse.CreateIn, *fuse.CreateOut) fuse.Status {
	return fuse.ENOSYS
}

func (r *requests) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return first(r.fs.room(r.fs.trip(cancel)), func() fuse.Status { return r.RawFileSystem.Mkdir(cancel, in, name, out) })
}

func (r *requests) Unlink(cancel <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	return first(r.fs.trip(cancel), func() fuse.Status { return r.RawFileSystem.Unlink(cancel, header, name) })
}

func (r *requests) Rmdir(cancel <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	return first(r.fs.trip(cancel), func() fuse.Status { return r.RawFileSystem.Rmdir(cancel, header, name) })
}

func (r *requests) Rename(cancel <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	return first(r.fs.trip(cancel), func() fuse.Status { return r.RawFileSystem.Rename(cancel, in, from, to) })
}

func (r *requests) Link(cancel <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	return first(r.fs.room(r.fs.trip(cancel)), func() fuse.Status { return r.RawFileSystem.Link(cancel, in, name, out) })
}

func (r *requests) Fsync(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return first(r.fs.room(r.fs.trip(cancel)), func() fuse.Status { return r.RawFileSystem.Fsync(cancel, in) })
}

// FsyncDir costs as much as if it did something. No kernel crashes here.
func (r *requests) FsyncDir(cancel <-chan struct{}, _ *fuse.FsyncIn) fuse.Status {
	return r.fs.trip(cancel)
}

// ReadDir takes one round trip, however many requests the kernel makes of it.
func (r *requests) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	begin := r.fs.trip
	if in.Offset > 0 {
		begin = r.fs.data
	}
	status := first(begin(cancel), func() fuse.Status { return r.RawFileSystem.ReadDir(cancel, in, out) })
	r.mu.Lock()
	defer r.mu.Unlock()
	if status == fuse.OK {
		r.listed[in.NodeId] = time.Now()
	}
	return status
}

func (r *requests) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return first(r.fs.reach(cancel), func() fuse.Status { return r.RawFileSystem.OpenDir(cancel, in, out) })
}

// Open comes after a Lookup, which may have taken the round trip.
func (r *requests) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	r.mu.Lock()
	begin := r.fs.trip
	if r.paid[in.NodeId] {
		begin = r.fs.data
	}
	delete(r.paid, in.NodeId)
	r.mu.Unlock()
	return first(begin(cancel), func() fuse.Status { return r.RawFileSystem.Open(cancel, in, out) })
}

func (r *requests) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	return first(r.fs.reach(cancel), func() fuse.Status { return r.RawFileSystem.GetAttr(cancel, in, out) })
}

func (r *requests) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	return first(r.fs.data(cancel), func() fuse.Status { return r.RawFileSystem.SetAttr(cancel, in, out) })
}

func (r *requests) StatFs(cancel <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	return first(r.fs.reach(cancel), func() fuse.Status { return r.RawFileSystem.StatFs(cancel, in, out) })
}

func (r *requests) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (result fuse.ReadResult, _ fuse.Status) {
	status := first(r.fs.data(cancel), func() (status fuse.Status) {
		result, status = r.RawFileSystem.Read(cancel, in, buf)
		return status
	})
	return result, status
}

func (r *requests) Write(cancel <-chan struct{}, in *fuse.WriteIn, data []byte) (n uint32, _ fuse.Status) {
	status := first(r.fs.room(r.fs.data(cancel)), func() (status fuse.Status) {
		n, status = r.RawFileSystem.Write(cancel, in, data)
		return status
	})
	return n, status
}

// Writev leaves all to Write.
func (r *requests) Writev(<-chan struct{}, *fuse.WriteIn, [][]byte) (uint32, fuse.Status) {
	return 0, fuse.ENOSYS
}

func (r *requests) Flush(cancel <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	return first(r.fs.reach(cancel), func() fuse.Status { return r.RawFileSystem.Flush(cancel, in) })
}

// first does what is asked for unless the weather is against it.
func first(weather fuse.Status, then func() fuse.Status) fuse.Status {
	if weather != fuse.OK {
		return weather
	}
	return then()
}

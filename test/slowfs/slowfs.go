// Package slowfs is a file system for tests that makes a far, slow and flaky
// place of a directory: like an object store, or a network's disk on a bad day.
//
// # What takes how long
//
// A round trip is looking at a plain file or at a name that is not there, so
// that every stat and every open is one; reading a directory, which tells how
// large its files are, too, for a second; and every change and sync. Each takes
// the [Weather]'s latency. Free are the way through directories, the attributes
// of open files, and contents, whose way is fast once it is found. The kernel
// remembers nothing: neither names nor attributes.
//
// There are no unnamed files (O_TMPFILE); links, renames that do not replace,
// locks and the sync of directories are there. Permissions are enforced.
package slowfs

import (
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"pgpipes/test/pgtest"
)

// Weather is what happens to requests. Its zero value is a fast and faultless
// file system.
type Weather struct {
	Latency  time.Duration // of a round trip
	Failures float64       // the share of round trips, reads and writes that end in EIO
	Seed     uint64        // of the failures
	Away     syscall.Errno // every request ends in it: ENOENT, EIO, ENOTCONN; 0 is none
	Full     bool          // what needs room, to be synced too, ends in ENOSPC
	Hang     bool          // no request ends before the weather changes, or its process is interrupted
}

// An FS is a mounted file system. The process that serves it had better look
// at Back: what it asks of Dir it has to answer itself.
type FS struct {
	Dir  string // where it is mounted
	Back string // the directory that it mirrors

	mu      sync.Mutex
	weather Weather
	changed chan struct{} // closed when the weather changes
	dice    *rand.Rand
	trips   atomic.Int64
	failed  atomic.Int64
}

// Mount mirrors a directory, for the servers of pgtest too, and unmounts it when
// the test ends, whatever is still using it. Where the user may not mount, and
// only there, the test is skipped.
func Mount(t testing.TB, back string) *FS {
	t.Helper()
	f := &FS{Dir: pgtest.TempDir(t), Back: back, changed: make(chan struct{})}
	f.Set(Weather{})
	root, err := fs.NewLoopbackRoot(f.Back)
	if err != nil {
		t.Fatal(err)
	}
	guard(t, f.Dir)
	if err := f.mount(fs.NewNodeFS(root, &fs.Options{NullPermissions: true})); err != nil {
		refuse(t, err)
	}
	t.Cleanup(func() { f.Set(Weather{}) }) // lets go of what hangs; the guard unmounts
	return f
}

// mount mounts by itself what root may, and asks fusermount3 for others.
func (f *FS) mount(mirror fuse.RawFileSystem) error {
	root := os.Geteuid() == 0
	options := &fuse.MountOptions{
		FsName: f.Back, Name: "slowfs",
		AllowOther:         root,
		DirectMountStrict:  root,
		Options:            []string{"default_permissions"},
		DisableReadDirPlus: true,
		DisableXAttrs:      true,
		DisableSplice:      true, // which keeps pipes: who counts descriptors would count those
		MaxStackDepth:      -1,   // impossible: the kernel would read and write the files of the mirrored directory itself, whatever the weather
	}
	if root { // the direct mount leaves its descriptor open to programs started meanwhile
		syscall.ForkLock.RLock()
	}
	server, err := fuse.NewServer(newRequests(mirror, f), f.Dir, options)
	if root {
		keepFromPrograms("/dev/fuse")
		syscall.ForkLock.RUnlock()
	}
	if err != nil {
		return err
	}
	go server.Serve() // until the last user is gone, who may have a view of the file systems of its own
	return server.WaitMount()
}

// Set changes the weather for requests to come and for those that hang.
func (f *FS) Set(w Weather) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.weather, f.dice = w, rand.New(rand.NewPCG(w.Seed, 0))
	close(f.changed)
	f.changed = make(chan struct{})
}

// Trips is how many round trips there were, and Failed how many requests were
// made to fail.
func (f *FS) Trips() int64  { return f.trips.Load() }
func (f *FS) Failed() int64 { return f.failed.Load() }

// reach begins every request.
func (f *FS) reach(cancel <-chan struct{}) fuse.Status {
	for {
		f.mu.Lock()
		weather, changed := f.weather, f.changed
		f.mu.Unlock()
		if !weather.Hang {
			return fuse.Status(weather.Away)
		}
		select {
		case <-changed:
		case <-cancel:
			return fuse.EINTR
		}
	}
}

// data begins a request that may fail.
func (f *FS) data(cancel <-chan struct{}) fuse.Status {
	if status := f.reach(cancel); status != fuse.OK {
		return status
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.weather.Failures > f.dice.Float64() {
		f.failed.Add(1)
		return fuse.EIO
	}
	return fuse.OK
}

// trip begins a request that takes a round trip.
func (f *FS) trip(cancel <-chan struct{}) fuse.Status {
	f.mu.Lock()
	latency := f.weather.Latency
	f.mu.Unlock()
	f.trips.Add(1)
	time.Sleep(latency)
	return f.data(cancel)
}

// room has a request that was begun end if there is none for what it makes.
func (f *FS) room(begun fuse.Status) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	if begun == fuse.OK && f.weather.Full {
		return fuse.Status(syscall.ENOSPC)
	}
	return begun
}

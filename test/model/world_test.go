package model

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// A world is one or two clusters, the hosts they run on, and the repositories
// and state directories of these.
type world struct {
	seed     uint64
	step     int
	chance   *rand.Rand
	dir      string
	private  bool // file systems can be mounted
	log      []string
	calls    uint64
	clusters []*cluster
	hosts    []*host
	mounts   []*mount
	states   []string // state directories
	saved    []string // earlier copies of them, "" where there is none
	disks    []*disk
	orphans  []orphan
	pace     pace

	forgotten map[string]bool // names that a disk had and lost
}

func newWorld(seed uint64, private bool) *world {
	w := &world{seed: seed, chance: rand.New(rand.NewPCG(seed, 0)), private: private, forgotten: map[string]bool{}}
	dir, err := os.MkdirTemp(place(), "pgpipes-model")
	w.must(err)
	w.dir = dir
	for _, sub := range []string{"tmp", "said", "disks", "empty"} {
		w.must(os.Mkdir(w.path(sub), 0o700))
	}
	w.must(os.WriteFile(w.path("file"), nil, 0o600))
	w.newState()
	w.newCluster(systemID)
	switch w.chance.IntN(6) {
	case 0: // the same machine has another cluster, and they share the state directory
		w.newCluster(systemID + 1)
	case 1: // archive_mode=always on a standby
		w.newHost(w.clusters[0], w.hosts[0].mounts)
	}
	return w
}

// newCluster makes a cluster with a primary and one or two repositories.
func (w *world) newCluster(system uint64) {
	c := newCluster(system)
	w.clusters = append(w.clusters, c)
	mounts := []*mount{w.newMount(c)}
	if w.one(3) {
		mounts = append(mounts, w.newMount(c))
	}
	w.newHost(c, mounts)
}

// newState makes another state directory.
func (w *world) newState() string {
	path := w.path(fmt.Sprintf("state%d", len(w.states)))
	w.states, w.saved = append(w.states, path), append(w.saved, "")
	return path
}

func (w *world) path(parts ...string) string {
	return filepath.Join(append([]string{w.dir}, parts...)...)
}

// one is true once in so many times.
func (w *world) one(in int) bool { return w.chance.IntN(in) == 0 }

// pickOne picks an element.
func pickOne[T any](w *world, of []T) T { return of[w.chance.IntN(len(of))] }

// logf writes a line of the log.
func (w *world) logf(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%3d %s", w.step, fmt.Sprintf(format, args...)))
}

// place is where the directories are made: in memory, if there is such a file
// system, as nobody cuts the power here.
func place() string {
	const memory = "/dev/shm"
	if unix.Access(memory, unix.W_OK) == nil {
		return memory
	}
	return os.TempDir()
}

// unshare gives the thread its own view of the file systems, so that what is
// mounted vanishes with it. It reports whether that is allowed. The thread is
// not given back.
func unshare() bool {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return false
	}
	return unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") == nil
}

package model

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
)

// A host runs a server of a cluster, with a data directory and an archiver.
type host struct {
	*cluster
	w        *world
	name     string
	data     string // data directory
	mounts   []*mount
	state    int      // index of the state directory
	settings []string // of wal-push
	getting  []string // settings of wal-get
	cached   []string // the archiver's list of what is ready
	acked    map[string]bool
	files    map[string]stamp // what is in the data directory
}

func (w *world) newHost(c *cluster, mounts []*mount) {
	h := &host{cluster: c, w: w, name: string(rune('A' + len(w.hosts))), mounts: mounts, acked: map[string]bool{}}
	h.data = w.path("data" + h.name)
	w.must(fixture.DataDirectory(h.data, c.system, segmentSize))
	w.must(os.Mkdir(filepath.Join(h.data, "pg_wal/archive_status"), 0o700))
	if len(w.hosts) > 0 && w.one(3) {
		w.newState()
		h.state = len(w.states) - 1
	}
	w.hosts = append(w.hosts, h)
	w.configure(h)
	h.look()
}

func (h *host) file(name string) string { return filepath.Join(h.data, "pg_wal", name) }
func (h *host) status(name, suffix string) string {
	return filepath.Join(h.data, "pg_wal/archive_status", name+suffix)
}

// archive puts a file into pg_wal and says that it is ready. A segment is
// written over a recycled file if there is one of that name, or a new one.
func (h *host) archive(name string) {
	flags := os.O_WRONLY | os.O_CREATE
	f, err := os.OpenFile(h.file(name), flags, 0o600)
	h.w.must(err)
	_, err = f.Write(h.cluster.files[name])
	h.w.must(errors.Join(err, f.Close()))
	h.w.must(os.WriteFile(h.status(name, ".ready"), nil, 0o600))
	if strings.HasSuffix(name, ".history") {
		h.cached = nil // a new one makes the archiver look again
	}
	h.look()
}

// ready lists what is to be archived, as the archiver orders it: histories
// first.
func (h *host) ready() []string { return h.marked(".ready") }

func (h *host) marked(suffix string) (names []string) {
	entries, err := os.ReadDir(h.status("", ""))
	h.w.must(err)
	for _, e := range entries {
		if name, is := strings.CutSuffix(e.Name(), suffix); is {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if ha, hb := strings.HasSuffix(a, ".history"), strings.HasSuffix(b, ".history"); ha != hb {
			if ha {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	return names
}

// done notes that a file is archived.
func (h *host) done(name string) {
	h.w.must(os.Rename(h.status(name, ".ready"), h.status(name, ".done")))
	h.look()
}

// restart is a crash of the server: the last renames to .done are lost, and the
// archiver starts anew.
func (h *host) restart(lost int) {
	done := h.marked(".done")
	for _, name := range done[max(0, len(done)-lost):] {
		h.w.must(os.Rename(h.status(name, ".done"), h.status(name, ".ready")))
	}
	h.cached = nil
	h.look()
}

// checkpoint recycles or removes up to so many files that are archived.
func (h *host) checkpoint(count int) {
	for _, name := range h.marked(".done") {
		if count--; count < 0 {
			break
		}
		h.w.must(os.Remove(h.status(name, ".done")))
		if n, err := wal.ParseName(name); err == nil && n.Kind == wal.Segment {
			h.w.must(os.Rename(h.file(name), h.file(segmentSize.Name(h.timeline, h.spare()))))
		} else {
			h.w.must(os.Remove(h.file(name)))
		}
	}
	h.look()
}

// spare is the number of the next segment for which there is no file.
func (h *host) spare() uint64 {
	n := h.next
	for exists(h.file(segmentSize.Name(h.timeline, n))) {
		n++
	}
	return n
}

// follow gives the recycled files names of the cluster's new timeline.
func (h *host) follow(old wal.Timeline) {
	for n := h.next; exists(h.file(segmentSize.Name(old, n))); n++ {
		h.w.must(os.Rename(h.file(segmentSize.Name(old, n)), h.file(segmentSize.Name(h.timeline, n))))
	}
	h.look()
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// A stamp is everything that touching a file would change but its access time.
type stamp struct {
	inode, size, changed, written int64
	mode                          uint32
}

// look remembers the data directory as the server has left it.
func (h *host) look() { h.files = stamps(h.w, h.data) }

// untouched demands that nothing but the server has changed the data directory.
func (h *host) untouched() {
	if what := different(h.files, stamps(h.w, h.data)); what != "" {
		h.w.fail("the data directory was touched: %s", what)
	}
}

func stamps(w *world, dir string) map[string]stamp {
	all := map[string]stamp{}
	w.must(filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		var s unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &s)
		}
		all[path] = stamp{int64(s.Ino), s.Size, s.Ctim.Nano(), s.Mtim.Nano(), s.Mode}
		return err
	}))
	return all
}

// different names a file that is not the same in both.
func different(before, after map[string]stamp) string {
	for path, s := range after {
		if before[path] != s {
			return fmt.Sprintf("%s: %v, was %v", path, s, before[path])
		}
	}
	for path := range before {
		if _, there := after[path]; !there {
			return path + " is gone"
		}
	}
	return ""
}

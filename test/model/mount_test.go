package model

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"pgpipes/lib/wal"
)

// A mount is where a host expects a disk.
type mount struct {
	w    *world
	link string  // what the programs are told
	all  []*disk // that were ever there; the last is the one that belongs there
	gone string  // what is there in its place, "" if it is there
	seen []*disk // what was there, nil for nothing, in order
}

func (w *world) newMount(c *cluster) *mount {
	m := &mount{w: w, link: w.path(fmt.Sprintf("mnt%d", len(w.mounts))), all: []*disk{w.newDisk(c)}}
	w.mounts = append(w.mounts, m)
	w.must(m.present())
	return m
}

func (m *mount) location() string { return filepath.Join(m.link, "pg/repo") }

func (m *mount) disk() *disk { return m.all[len(m.all)-1] }

// point lets the link lead elsewhere, in one step.
func (m *mount) point(to string) error {
	next := m.link + ".next"
	if err := os.Symlink(to, next); err != nil {
		return err
	}
	return os.Rename(next, m.link)
}

// present brings the disk.
func (m *mount) present() error {
	m.gone, m.seen = "", append(m.seen, m.disk())
	return m.point(m.disk().dir)
}

// outages are what may be in place of a disk: a mount point without a mount, a
// link that leads nowhere, something that is no directory.
func (w *world) outages() []string {
	return []string{w.path("empty"), w.path("nowhere"), w.path("file")}
}

// vanish takes the disk away.
func (m *mount) vanish(to string) error {
	m.gone, m.seen = to, append(m.seen, nil)
	return m.point(to)
}

// exchange puts another disk in place of the one that is there.
func (m *mount) exchange(next *disk) error {
	m.all = append(m.all, next)
	return m.present()
}

// healthy reports whether the disk is there and can be written.
func (m *mount) healthy() bool { return m.gone == "" && !m.disk().full && !m.disk().readonly }

// promise is for a name for which a program returned 0 that began when the mount
// had seen so many disks: one of those that were there since must have it.
func (m *mount) promise(name string, since int) {
	var missing []error
	for _, d := range slices.Backward(m.seen[since-1:]) {
		if d == nil {
			continue
		}
		err := d.check(name)
		if err == nil {
			d.promised[name] = true
			return
		}
		missing = append(missing, err)
	}
	m.w.fail("status 0 for %s at %s: %v", name, m.link, errors.Join(missing...))
}

// promised reports whether a disk of the mount was ever promised to have a name.
func (m *mount) promised(name string) bool {
	return slices.ContainsFunc(m.all, func(d *disk) bool { return d.promised[name] })
}

// inOrder demands that the first disk has the segments of each timeline from its
// first one on, without a hole: what is stored ahead is not seen before its turn.
func (m *mount) inOrder() {
	d, numbers := m.all[0], map[wal.Timeline][]uint64{}
	for name := range d.stored() {
		n, err := wal.ParseName(name)
		m.w.must(err)
		if n.Kind == wal.Segment {
			number, err := segmentSize.Split(n)
			m.w.must(err)
			numbers[n.Timeline] = append(numbers[n.Timeline], number)
		}
	}
	for timeline, there := range numbers {
		first := uint64(1)
		if history := d.cluster.lines[timeline]; len(history) > 0 {
			first = segmentSize.Number(history[len(history)-1].At)
		}
		slices.Sort(there)
		if last := there[len(there)-1]; there[0] != first || last-first+1 != uint64(len(there)) {
			m.w.fail("timeline %d has its segments %d, and begins with %d", timeline, there, first)
		}
	}
}

package model

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// heal makes everything as it should be, but for the state directories.
func (w *world) heal() {
	w.logf("heal")
	w.resume()
	for _, m := range w.mounts {
		w.must(m.present())
		m.disk().heal()
	}
}

// drain archives what is left. Nothing may fail.
func (w *world) drain(h *host) {
	h.cached = nil
	h.run(10*most, true)
	if left := h.ready(); len(left) > 0 {
		w.fail("host %s: not archived: %v", h.name, left)
	}
	for _, name := range h.order {
		for _, m := range h.mounts {
			if !h.acked[name] || m.promised(name) {
				continue
			}
			w.fail("host %s: %s was archived, and no disk was promised to have it", h.name, name)
		}
	}
}

// settle demands that nothing is left over, and that the disks are right.
func (w *world) settle() {
	w.alone()
	left, err := os.ReadDir(w.path("tmp"))
	w.must(err)
	if len(left) > 0 {
		w.fail("left behind: %v", left)
	}
	for _, m := range w.mounts {
		for _, d := range m.all {
			d.checkAll()
		}
	}
}

// end stops what runs, and takes everything down.
func (w *world) end() error {
	var failed []error
	for _, o := range w.orphans {
		failed = append(failed, o.signal(unix.SIGKILL))
		_ = o.cmd.Wait() // it was killed
		ended(o.cmd)
	}
	for _, d := range w.disks {
		if d.mounted {
			failed = append(failed, unix.Unmount(d.dir, unix.MNT_DETACH))
		}
	}
	return errors.Join(append(failed, removeAll(w.dir))...)
}

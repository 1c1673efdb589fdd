package model

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
)

// twin lets a segment that waits to be archived have other contents, as when
// the machine was set back to an earlier moment and goes on from there, or the
// file was damaged. The file is the same, and has the same size.
//
// What a repository has got already under that name is not overwritten, whether
// the server knows of it or not; otherwise the new contents are those that
// count. Damage is never taken.
func (w *world) twin(h *host) {
	name, m := h.single(), h.mounts[0]
	damage, dated := w.one(3), w.one(2)
	if name == "" || len(w.orphans) > 0 || !m.healthy() {
		return
	}
	d, original := m.disk(), h.cluster.files[name]
	other := h.otherwise(name)
	if damage {
		other = make([]byte, len(original))
	}
	taken := len(d.forms(name)) > 0
	h.rewrite(name, other, dated)
	c := h.push(name, trouble{})
	status := c.end()
	w.logf("twin %s: %s=%d (taken %t, damage %t)", h.name, short(name), status, taken, damage)
	switch {
	case status != 0 && !taken && !damage:
		w.fail("%s: status %d though it is new: %s", name, status, c.text())
	case status == 0 && (taken || damage):
		w.fail("%s: status 0 for other contents: %s", name, c.text())
	case status == 0:
		h.cluster.files[name] = other
		h.judge(c, name, status)
	default:
		c.text()
		h.untouched()
		h.rewrite(name, original, false)
	}
}

// split lets a copy of the server, which has gone its own way, archive other
// contents under the same name at the same time. One of them is the first, and
// the other is refused.
func (w *world) split(h *host) {
	name := h.single()
	if name == "" || len(w.orphans) > 0 || !h.mounts[0].healthy() || len(h.mounts[0].disk().forms(name)) > 0 {
		return
	}
	other := h.otherwise(name)
	clone := h.data + ".clone"
	w.must(errors.Join(fixture.DataDirectory(clone, h.system, segmentSize), os.WriteFile(filepath.Join(clone, "pg_wal", name), other, 0o600)))
	first, second := h.push(name, trouble{}), h.pushFrom(clone, name, trouble{})
	status, refused := first.end(), second.end()
	w.logf("split %s: %s=%d %d", h.name, short(name), status, refused)
	said := first.text() + second.text()
	h.untouched()
	if (status == 0) == (refused == 0) {
		w.fail("%s: two with other contents at once: statuses %d and %d: %s", name, status, refused, said)
	}
	if refused == 0 {
		h.cluster.files[name] = other
		h.rewrite(name, other, false)
	}
	if err := h.mounts[0].disk().check(name); err != nil {
		w.fail("%v", err)
	}
	w.must(os.RemoveAll(clone))
}

// single is the file whose turn it is, if that is a segment that no repository but one can have, nor a
// cache of what it had; "" if not.
func (h *host) single() string {
	for _, other := range h.w.hosts {
		if other != h && other.cluster == h.cluster {
			return ""
		}
	}
	ready := h.ready()
	if len(ready) == 0 || len(h.mounts) > 1 || len(h.mounts[0].all) > 1 {
		return ""
	}
	name := ready[0]
	if strings.Contains(name, ".") || h.mounts[0].promised(name) || h.w.forgotten[name] {
		return ""
	}
	return name
}

// rewrite changes the contents of a file in place, perhaps with its old times.
func (h *host) rewrite(name string, contents []byte, dated bool) {
	path := h.file(name)
	before, err := os.Stat(path)
	h.w.must(err)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	h.w.must(err)
	_, err = f.Write(contents)
	h.w.must(errors.Join(err, f.Close()))
	if dated {
		h.w.must(os.Chtimes(path, before.ModTime(), before.ModTime()))
	}
	h.look()
}

// otherwise are other contents for a segment.
func (h *host) otherwise(name string) []byte {
	n, err := wal.ParseName(name)
	h.w.must(err)
	return h.body(h.w.chance, name, n.Timeline)
}

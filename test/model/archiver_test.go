package model

import (
	"fmt"
	"os"
	"strings"
)

const (
	attempts    = 3  // for one file, before the archiver looks again (pgarch.c: NUM_ARCHIVE_RETRIES)
	directory   = 64 // names that it remembers of one look (pgarch.c: NUM_FILES_PER_DIRECTORY_SCAN)
	lostRenames = 4  // by a crash, at most
)

// configure draws the options of a host's archive_command.
func (w *world) configure(h *host) {
	h.settings = nil
	if w.one(4) {
		h.settings = append(h.settings, "-c", pickOne(w, []string{"gzip", "lz4", "none"}))
	}
	if w.one(2) {
		h.settings = append(h.settings, "-j", pickOne(w, []string{"1", "2", "4"}))
	}
	if w.one(2) {
		h.settings = append(h.settings, "--ahead", pickOne(w, []string{"0", "1", "4", "32"}))
	}
	state := w.states[h.state]
	if w.one(8) {
		state = "none"
	}
	h.settings = append(h.settings, "--state", state)
	h.getting = []string{"--ahead", pickOne(w, []string{"0", "1", "4", "32"}), "--state", state}
	w.logf("configure %s: %s", h.name, strings.ReplaceAll(strings.Join(h.settings, " "), w.dir+"/", ""))
}

// run lets the archiver push up to so many files. Unless it is calm, calls get
// into trouble.
func (h *host) run(count int, calm bool) {
	var log []string
	defer func() { h.w.logf("archive %s: %s", h.name, strings.Join(log, " ")) }()
	for range count {
		name := h.pending()
		if name == "" || !h.try(name, calm, &log) {
			return
		}
	}
}

// pending is the file whose turn it is, "" if there is none. A mark without a
// file is removed (pgarch.c: pgarch_ArchiverCopyLoop).
func (h *host) pending() string {
	for {
		if len(h.cached) == 0 {
			all := h.ready()
			h.cached = all[:min(len(all), directory)]
		}
		if len(h.cached) == 0 {
			return ""
		}
		name := h.cached[0]
		h.cached = h.cached[1:]
		if !exists(h.status(name, ".ready")) {
			continue
		}
		if exists(h.file(name)) {
			return name
		}
		h.w.must(os.Remove(h.status(name, ".ready")))
		h.look()
	}
}

// try pushes a file as often as the archiver does, and reports whether it goes
// on with the next.
func (h *host) try(name string, calm bool, log *[]string) bool {
	for range attempts {
		var t trouble
		if !calm {
			t = h.trouble()
		}
		c := h.push(name, t)
		if t.abandon {
			*log = append(*log, short(name)+t.String())
			h.w.abandon(h, c, name)
			h.restart(h.w.chance.IntN(lostRenames))
			return false
		}
		status := c.end()
		*log = append(*log, fmt.Sprintf("%s=%d%s", short(name), status, t))
		h.judge(c, name, status)
		switch {
		case status == 0:
			h.done(name)
			return true
		case status > 125: // the archiver ends, and a new one is started
			h.cached = nil
			return false
		}
	}
	h.cached = nil
	return false
}

// push starts wal-push as the server does.
func (h *host) push(name string, t trouble) *call { return h.pushFrom(h.data, name, t) }

// pushFrom does so in another data directory.
func (h *host) pushFrom(data, name string, t trouble) *call {
	argv := append([]string{"wal-push"}, h.settings...)
	for _, m := range h.mounts {
		argv = append(argv, "-r", m.location())
	}
	c := h.w.command(data, t, append(argv, "pg_wal/"+name)...)
	c.begin()
	return c
}

// healthy reports whether a push must succeed.
func (h *host) healthy() bool {
	for _, m := range h.mounts {
		if !m.healthy() {
			return false
		}
	}
	return true
}

// judge says whether a push may have ended so.
func (h *host) judge(c *call, name string, status int) {
	text := c.text()
	h.untouched()
	for _, m := range h.mounts {
		m.inOrder()
	}
	switch t := c.trouble; {
	case status == 0:
		for _, m := range h.mounts {
			m.promise(name, c.since[m])
		}
		h.acked[name] = true
	case status == 137 && t.fatal, status == 143 && t.name == "term":
	case status == 100 && !exists(h.status(name, ".ready")): // nobody asks any more, and these segments are no log
	case status != 111:
		h.w.fail("%s: status %d: %s", name, status, text)
	case t.quiet() && h.healthy():
		h.w.fail("%s: status %d though nothing is wrong: %s", name, status, text)
	}
}

// short is a name without its many zeros.
func short(name string) string {
	if len(name) < 24 {
		return name
	}
	return strings.TrimLeft(name[:8], "0") + ":" + strings.TrimLeft(name[8:24], "0") + name[24:]
}

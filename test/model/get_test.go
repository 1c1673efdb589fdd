package model

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"pgpipes/test/fixture"
)

// Statuses of wal-get.
const (
	delivered = 0
	absent    = 1
	stop      = 254
)

// An asking is one call of wal-get by a recovering server.
type asking struct {
	*call
	host   *host
	name   string
	dir    string
	target string
	before int // the status that was expected when it began
}

// recovery is a data directory in which the cluster's WAL is asked for; there
// may be several.
func (h *host) recovery(number int) string {
	dir := fmt.Sprintf("%s.recovery%d", h.data, number)
	if !exists(dir) {
		h.w.must(fixture.DataDirectory(dir, h.system, segmentSize))
	}
	return dir
}

// ask begins to get a file, as a recovering server would.
func (h *host) ask(recovery int, name string, t trouble) asking {
	a := asking{host: h, name: name, dir: h.recovery(recovery), target: "pg_wal/RECOVERYXLOG", before: h.expected(name)}
	if strings.HasSuffix(name, ".history") {
		a.target = "pg_wal/RECOVERYHISTORY"
	}
	argv := append([]string{"wal-get", "--retry", "0"}, h.getting...)
	for _, m := range h.mounts {
		argv = append(argv, "-r", m.location())
	}
	a.call = h.w.command(a.dir, t, append(argv, name, a.target)...)
	a.begin()
	return a
}

// finish waits for the end and judges it.
func (a asking) finish() int {
	h, status := a.host, a.end()
	h.w.logf("get %s: %s=%d%s", h.name, short(a.name), status, a.trouble)
	text := a.text()
	if !a.mayEnd(status, h.expected(a.name)) {
		h.w.fail("get %s: status %d, want %d: %s", a.name, status, a.before, text)
	}
	h.delivered(a.name, filepath.Join(a.dir, a.target), status)
	return status
}

// mayEnd reports whether a get may end so, when a status was expected before it
// and another after it. What is delivered from the cache needs no repository.
func (a asking) mayEnd(status, after int) bool {
	switch t := a.trouble; {
	case status == delivered:
		return true
	case t.quiet():
		return status == a.before
	case status == 137 && t.fatal, status == 143 && t.name == "term", status == stop:
		return true
	}
	return status == absent && (a.before == absent || after == absent)
}

// delivered looks at what a get has left in the data directory, and removes it.
func (h *host) delivered(name, path string, status int) {
	got, err := os.ReadFile(path)
	want, known := h.cluster.files[name]
	switch there := err == nil; {
	case there && (!known || !bytes.Equal(got, want)):
		h.w.fail("get %s: status %d, and %d wrong bytes", name, status, len(got))
	case !there && status == delivered:
		h.w.fail("get %s: status 0: %v", name, err)
	case there && (status == absent || status == stop):
		h.w.fail("get %s: status %d, and yet delivered", name, status)
	case there:
		h.w.must(os.Remove(path))
	}
	left, err := os.ReadDir(filepath.Dir(path)) // pg_wal
	h.w.must(err)
	if len(left) > 0 {
		h.w.fail("get %s: left behind: %v", name, left)
	}
}

// Package stores tests the programs against servers of S3, from outside: what
// they ask for on the good path, what they say of servers that lie, hang or may
// not do everything, and one of four nodes of which some die.
package stores

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
	"pgpipes/test/s3"
	"pgpipes/test/script"
)

var nodes = flag.Bool("nodes", false, "test a server of several nodes, too; building it takes minutes")

func TestMain(m *testing.M) {
	flag.Parse()
	script.Main(m)
}

// A host is one with a data directory and our programs.
type host struct {
	t    *testing.T
	dir  string
	data string
	env  []string
}

func newHost(t *testing.T) *host {
	t.Helper()
	dir := t.TempDir()
	h := &host{t: t, dir: dir, data: filepath.Join(dir, "data"), env: s3.Env()}
	h.check(fixture.DataDirectory(h.data, fixture.SystemID, wal.MinSegmentSize))
	h.check(os.MkdirAll(filepath.Join(h.data, "pg_wal/archive_status"), 0o700))
	return h
}

func (h *host) check(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// segment is the name of the n-th segment.
func segment(n uint64) string { return wal.SegmentSize(wal.MinSegmentSize).Name(1, n) }

// write writes segments as the server does that wants them archived.
func (h *host) write(first, last uint64) {
	h.t.Helper()
	for n := first; n <= last; n++ {
		h.check(fixture.Segment{Name: segment(n)}.Write(h.wal(n)))
		h.check(os.WriteFile(filepath.Join(h.data, "pg_wal/archive_status", segment(n)+".ready"), nil, 0o600))
	}
}

func (h *host) wal(n uint64) string { return filepath.Join(h.data, "pg_wal", segment(n)) }

// store puts a backup into a repository.
func (h *host) store(repo string, b fixture.Backup) {
	h.t.Helper()
	files, err := b.Files()
	h.check(err)
	for _, name := range slices.Sorted(maps.Keys(files)) { // the manifest last
		path := filepath.Join(h.dir, name)
		h.check(os.WriteFile(path, files[name], 0o600))
		h.must("sh", "-c", `repo put -r "$1" "$2" <"$3"`, "sh", repo, "base/"+b.Label+"/"+name, path)
	}
}

// A result is how a program ended and what it said.
type result struct {
	status   int
	out, err string
}

// run runs a program, or a shell, in the data directory.
func (h *host) run(name string, args ...string) result {
	h.t.Helper()
	path := filepath.Join(script.Programs(), name)
	if name == "sh" {
		path = name
	}
	cmd := exec.Command(path, args...)
	var out, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = h.data, &out, &stderr
	cmd.Env = append([]string{"PATH=" + script.Programs() + ":" + os.Getenv("PATH"), "HOME=" + h.dir, "TMPDIR=" + h.dir, "PGPIPES_STATE=" + filepath.Join(h.dir, "state")}, h.env...)
	return result{script.Status(cmd.Run()), out.String(), stderr.String()}
}

// must runs one that has to succeed, and say nothing but its output.
func (h *host) must(name string, args ...string) string {
	h.t.Helper()
	r := h.run(name, args...)
	if r.status != 0 || r.err != "" {
		h.t.Fatalf("%s %q: %+v", name, args, r)
	}
	return r.out
}

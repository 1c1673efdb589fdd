package e2e

import (
	"archive/tar"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pgpipes/test/pgtest"
)

func itoa(n int) string { return strconv.Itoa(n) }

// backup takes a backup with the script.
func (s *site) backup(label string, copyOptions ...string) {
	s.t.Helper()
	s.must("backup", append([]string{"-r", s.repo, "-D", s.Data, "--fast", "--label", label, "--"}, copyOptions...)...)
}

// A held copy is a base-copy whose stream is not read any further for the time
// being, so that the copy is under way for as long as a test wants.
type heldCopy struct {
	site     *site
	cmd      *exec.Cmd
	stream   *os.File // read end
	stderr   strings.Builder
	file     string // what has been read so far
	manifest string
}

// hold starts a base-copy and reads the first bytes of its stream.
func (s *site) hold(label string, first int64, options ...string) *heldCopy {
	s.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	h := &heldCopy{site: s, stream: r, file: s.path(label + ".tar"), manifest: s.path(label + ".manifest")}
	h.cmd = s.Command("base-copy", append([]string{"-D", s.Data, "-r", s.repo, "--fast", "--label", label, "-m", h.manifest}, options...)...)
	h.cmd.Stdout, h.cmd.Stderr = w, &h.stderr
	if err := h.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	w.Close()
	s.t.Cleanup(func() { h.cmd.Process.Kill(); h.cmd.Wait(); r.Close() })
	if n := h.read(first); n < first {
		s.t.Fatalf("only %d bytes: %s", n, h.end())
	}
	return h
}

// read reads up to n bytes of the stream into the file.
func (h *heldCopy) read(n int64) int64 {
	h.site.t.Helper()
	f, err := os.OpenFile(h.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		h.site.t.Fatal(err)
	}
	defer f.Close()
	n, _ = io.CopyN(f, h.stream, n)
	return n
}

// end reads the rest and waits for the end.
func (h *heldCopy) end() result {
	h.site.t.Helper()
	h.read(1 << 40)
	h.cmd.Wait()
	return result{status: statusOf(h.cmd.ProcessState), err: h.stderr.String()}
}

// done is end for a copy that has to succeed.
func (h *heldCopy) done() {
	h.site.t.Helper()
	if r := h.end(); r.status != 0 {
		h.site.t.Fatalf("base-copy: %s", r)
	}
}

// store does by hand what the script does with a finished copy.
func (h *heldCopy) store(label string) {
	h.site.t.Helper()
	h.site.must("sh", "-euc", `
		compress < "$1" | repo put -r "$2" "base/$3/000.tar.zst" > "$4"
		manifest seal "$5" < "$4" | repo put -r "$2" "base/$3/manifest"`,
		"sh", h.file, h.site.repo, label, h.file+".receipt", h.manifest)
}

// unpack unpacks a backup with tar alone. Tablespaces stay inline.
func (s *site) unpack(label string) string {
	s.t.Helper()
	dir := filepath.Join(pgtest.TempDir(s.t), "data")
	s.must("sh", "-euc", `mkdir -m 700 "$2"; for part in "$1"/*.tar.zst; do zstd -dc "$part" | tar -xpf - -C "$2"; done`,
		"sh", s.inRepo("base", label), dir)
	return dir
}

// restored restores with the script, and does not start the server.
func (s *site) restored(t *testing.T, options ...string) *pgtest.Cluster {
	t.Helper()
	data := filepath.Join(pgtest.TempDir(t), "data")
	s.must("restore", append([]string{"-r", s.repo, "-D", data}, options...)...)
	return pgtest.Attach(t, data)
}

// recovered restores with the script, and waits until the server has recovered
// and promoted itself.
func (s *site) recovered(t *testing.T, options ...string) *pgtest.Cluster {
	t.Helper()
	c := s.restored(t, options...)
	if !recovers(t, c) {
		t.Fatalf("not recovered:\n%s", c.Log())
	}
	return c
}

// members lists a tar: the names and sizes of what is in it, up to where it is
// cut off.
func members(t *testing.T, file string) map[string]int64 {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string]int64{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err != nil {
			return all
		}
		all[filepath.Clean(h.Name)] = h.Size
	}
}

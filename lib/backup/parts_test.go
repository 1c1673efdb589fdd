package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgpipes/lib/filter"
	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/stream"
)

// A rig copies a directory into parts, in which no server has a say.
type rig struct {
	*copier
	dir   string // the data directory
	store string // the parts
	mu    sync.Mutex
	said  []string
}

// newRig makes a data directory of these files, by name and contents.
func newRig(t *testing.T, files map[string]string, command string) *rig {
	t.Helper()
	r := &rig{dir: t.TempDir(), store: t.TempDir()}
	for _, d := range []string{"base/1", "global", pgdata.TablespaceDir, pgdata.WALDir + "/archive_status"} {
		if err := os.MkdirAll(filepath.Join(r.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	files["PG_VERSION"] = "15\n"
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	warn := func(format string, args ...any) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.said = append(r.said, fmt.Sprintf(format, args...))
	}
	tree, err := newTree(r.dir, pgdata.Control{}, warn)
	if err != nil {
		t.Fatal(err)
	}
	list, err := newListing()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { list.close() })
	command = strings.ReplaceAll(command, "STORE", r.store)
	r.copier = &copier{tree: tree, listing: list, outlet: &outlet{command: command, label: "x"}}
	r.o = CopyOptions{Parts: Parts{Command: command, Size: 1 << 30, Jobs: 2}, Warn: warn}
	return r
}

// contents are the members of all parts, by path, and fails if one comes twice.
func (r *rig) contents(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, p := range r.parts {
		b, err := os.ReadFile(filepath.Join(r.store, p.Name))
		if err != nil {
			t.Fatal(err)
		}
		in := stream.NewReader(bytes.NewReader(b))
		in.Bare = true
		for {
			m, err := in.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("part %s: %v", p.Name, err)
			}
			text, err := io.ReadAll(in)
			if _, twice := found[m.Path]; twice || err != nil {
				t.Errorf("%s in part %s: twice, or %v", m.Path, p.Name, err)
			}
			found[m.Path] = string(text)
		}
	}
	return found
}

// many are files of 1 MiB.
func many(n int) map[string]string {
	files := map[string]string{}
	for i := range n {
		files[fmt.Sprintf("base/1/%d", 16384+i)] = strings.Repeat(string(rune('a'+i%26)), 1<<20)
	}
	return files
}

const keepPart = `cat >STORE/$PART && printf '%064d\t7\t%s\n' 0 "$LABEL/$PART"`

// What a killed restore has left in some directory keeps nobody from restoring.
func TestMarksAreLeftOut(t *testing.T) {
	r := newRig(t, map[string]string{stream.DataMark: "x", "base/1/" + stream.DeltaMark: "y"}, keepPart)
	if err := r.copyParts(t.Context()); err != nil {
		t.Fatal(err)
	}
	found := r.contents(t)
	if found["PG_VERSION"] == "" || len(r.said) != 2 || !strings.Contains(r.said[0], "left out: it is the mark of a restore") {
		t.Errorf("%q, said %q", found, r.said)
	}
}

func TestParts(t *testing.T) {
	files := many(40)
	files["base/1/20000"] = strings.Repeat("l", 20<<20)
	r := newRig(t, files, keepPart)
	if err := r.copyParts(t.Context()); err != nil {
		t.Fatal(err)
	}
	found := r.contents(t)
	for name, text := range files {
		if found[name] != text {
			t.Errorf("%s: %d bytes, want %d", name, len(found[name]), len(text))
		}
		delete(found, name)
	}
	if len(found) != 7 { // directories
		t.Errorf("besides the files: %v", found)
	}
	if len(r.parts) != 4 { // the large one, and 40 MiB in parts of 16
		t.Errorf("%d parts: %v", len(r.parts), r.parts)
	}
	r.checkListing(t, files)
}

// checkListing makes sure that every file is listed, with its hash and the part
// that holds it.
func (r *rig) checkListing(t *testing.T, files map[string]string) {
	t.Helper()
	for all := r.listing.entries.Entries(); ; {
		e, err := all.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(files[e.Path]))
		if e.Kind == manifest.File && e.SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("%s: hash %s", e.Path, e.SHA256)
		}
		if !slices.ContainsFunc(r.parts, func(p manifest.Part) bool { return p.Name == e.Part }) {
			t.Errorf("%s is in part %q, which is not there", e.Path, e.Part)
		}
	}
}

// The large files come first, and all directories before them.
func TestPartsBeginWithTheLargest(t *testing.T) {
	files := many(3)
	files["base/1/3"] = strings.Repeat("m", 9<<20)
	files["base/1/4"] = strings.Repeat("l", 17<<20)
	r := newRig(t, files, keepPart)
	if err := r.copyParts(t.Context()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(r.store, "000"))
	if err != nil {
		t.Fatal(err)
	}
	in := stream.NewReader(bytes.NewReader(b))
	var order []string
	for {
		m, err := in.Next()
		if err != nil {
			break
		}
		order = append(order, m.Path)
	}
	want := []string{".", "pg_tblspc", "base", "base/1", "global", "pg_wal", "pg_wal/archive_status", "base/1/4"}
	if !slices.Equal(order, want) {
		t.Errorf("part 000 holds %v, want %v", order, want)
	}
}

// A part that fails is written again under a number of its own, and nothing is
// listed twice.
func TestPartIsWrittenAgain(t *testing.T) {
	files := many(40)
	r := newRig(t, files, `[ $PART != 001 ] || { cat >/dev/null; exit 3; }; `+keepPart)
	if err := r.copyParts(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.checkListing(t, files)
	if len(r.contents(t)) != len(files)+7 {
		t.Error("not everything is in the parts")
	}
	if len(r.said) != 1 || !strings.Contains(r.said[0], "part 001: ") || !strings.Contains(r.said[0], "status 3; it is written again as part") {
		t.Errorf("%q", r.said)
	}
	if total := r.tree.pace.Done(); total != 40<<20+3 {
		t.Errorf("%d bytes are said to be copied", total)
	}
}

func TestPartsFail(t *testing.T) {
	for command, why := range map[string]string{
		"cat >/dev/null; exit 9":       "status 9",
		"cat >/dev/null; echo x":       "prints no receipt",
		"true":                         "before it had read everything",
		"cat >/dev/null; kill -9 $$":   "signal killed",
		"cat >/dev/null; no-such-tool": "status 127",
	} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, many(2), command)
			err := r.copyParts(t.Context())
			if !errors.Is(err, filter.ErrFailed) || !strings.Contains(err.Error(), why) || len(r.parts) > 0 {
				t.Errorf("%v, %v", err, r.parts)
			}
		})
	}
}

// What vanishes is no error, as long as the server may remove it.
func TestPartsWithoutFiles(t *testing.T) {
	r := newRig(t, map[string]string{}, keepPart)
	b := batch{files: []string{"base/1/gone"}}
	if err := r.writePart(t.Context(), newWorker(r.tree), 0, b.fill); err != nil || len(r.parts) > 0 {
		t.Errorf("%v, %v", err, r.parts)
	}
}

func TestPartSize(t *testing.T) {
	for _, c := range []struct {
		asked, total int64
		workers      int
		want         int64
	}{
		{1 << 30, 0, 2, smallestPart},
		{1 << 30, 32 << 30, 2, 1 << 30},
		{1 << 30, 3200 << 20, 2, 100 << 20},
		{4 << 20, 32 << 30, 2, 4 << 20},
	} {
		if got := partSize(c.asked, c.total, c.workers); got != c.want {
			t.Errorf("%d of %d for %d: %d, want %d", c.asked, c.total, c.workers, got, c.want)
		}
	}
}

package inspect

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/codec"
	"pgpipes/lib/filter"
	"pgpipes/lib/manifest"
	"pgpipes/test/fixture"
)

// tarOf is a whole tar of files by name and contents.
func tarOf(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		text := files[name]
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: int64(len(text)), ModTime: fixture.BackupTime, Uname: "u", Gname: "g"}
		if strings.HasSuffix(name, "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o700
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, text)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func compressed(t testing.TB, f codec.Format, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := codec.NewWriter(&out, codec.Options{Format: f})
	if err == nil {
		_, err = w.Write(b)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A shelf holds stored parts by name; the keys are names with a k before them.
type shelf map[string][]byte

// leftover describes what is on the shelf. What is passed over goes to said.
func (s shelf) leftover(said *[]string) Leftover {
	l := Leftover{
		Header: manifest.Header{Label: "b", SystemID: 7, StartTimeline: 1, StartLSN: 0x2000, StartTime: fixture.BackupTime},
		Jobs:   2,
		Open: func(_ context.Context, key string) (io.ReadCloser, error) {
			b, there := s[key[1:]]
			if !there {
				return nil, os.ErrNotExist
			}
			return io.NopCloser(bytes.NewReader(b)), nil
		},
		Warn: func(format string, args ...any) { *said = append(*said, fmt.Sprintf(format, args...)) },
	}
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(s))) {
		l.Parts = append(l.Parts, manifest.Part{Name: name, Key: "k" + name})
	}
	return l
}

// describe is the header of a manifest, and its files as PART:PATH.
func describe(t testing.TB, l Leftover) (manifest.Header, string) {
	t.Helper()
	var b bytes.Buffer
	if err := l.WriteManifest(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	m, err := manifest.NewReader(&b)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	err = manifest.Each(m, func(e manifest.Entry) error {
		files = append(files, e.Part+":"+e.Path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m.Header(), strings.Join(files, " ")
}

func TestLeftover(t *testing.T) {
	whole := tarOf(t, map[string]string{"base/1/1": "new", "base/1/3": "c"})
	s := shelf{
		"000":  compressed(t, codec.Zstd, tarOf(t, map[string]string{"./": "", "base/": "", "base/1/1": "old", "base/1/2": "b"})),
		"002":  whole,
		"003":  whole[:len(whole)-600],                                                                      // cut in its trailer
		"004":  compressed(t, codec.Gzip, whole)[:200],                                                      // cut
		"005":  []byte("age-encryption.org/v1 and so on"),                                                   // no tar
		"007":  nil,                                                                                         // empty
		"999":  tarOf(t, map[string]string{"backup_label": "x", "global/pg_control": "y", "pg_wal/1": "z"}), // nothing to use again
		"1000": compressed(t, codec.Lz4, tarOf(t, map[string]string{"base/1/2": "latest"})),
	}
	var said []string
	h, files := describe(t, s.leftover(&said))
	if files != "002:base/1/1 1000:base/1/2 002:base/1/3" {
		t.Error(files)
	}
	if h.Type != manifest.TypeLeftover || h.Label != "b" || !h.StartTime.Equal(fixture.BackupTime) || h.StartTimeline != 1 {
		t.Errorf("%+v", h)
	}
	var names []string
	for _, p := range h.Parts {
		names = append(names, p.Name)
		sum := sha256.Sum256(s[p.Name])
		if p.SHA256 != hex.EncodeToString(sum[:]) || p.Size != int64(len(s[p.Name])) || p.Key != "k"+p.Name {
			t.Errorf("receipt %+v", p)
		}
	}
	if got := strings.Join(names, " "); got != "000 002 003 004 005 007 999 1000" {
		t.Error(got)
	}
	slices.Sort(said)
	for i, name := range []string{"003", "004", "005", "007"} {
		if i >= len(said) || !strings.HasPrefix(said[i], "part "+name+": k"+name+" is passed over: ") {
			t.Errorf("said %q", said)
		}
	}
}

func TestLeftoverOfIncrement(t *testing.T) {
	var parent bytes.Buffer
	w := manifest.NewWriter("")
	defer w.Close()
	for path, part := range map[string]string{"a": "000", "b": "older/003", "c": "001", "backup_label": "001", "pg_wal/x": "001"} {
		e := manifest.Entry{Kind: manifest.File, Mode: 0o600, Size: 5, MTime: fixture.BackupTime.Add(-time.Hour), SHA256: strings.Repeat("ab", 32), Part: part, Path: path}
		if err := w.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	ph := manifest.Header{
		Label: "old", Type: "full", SystemID: 7, Major: 15, From: "primary", StartTimeline: 1, StartLSN: 0x1000, StopTimeline: 1, StopLSN: 0x2000,
		StartTime: fixture.BackupTime.Add(-time.Hour), StopTime: fixture.BackupTime.Add(-time.Hour),
		BadPages: []manifest.BadPage{{Block: 7, Path: "a"}},
		Parts:    []manifest.Part{{Name: "000"}, {Name: "older/003"}, {Name: "001"}},
	}
	if err := w.Finish(&parent, ph); err != nil {
		t.Fatal(err)
	}
	var said []string
	l := shelf{"000": tarOf(t, map[string]string{"c": "new", "d": "new"})}.leftover(&said)
	l.Parent, l.Header.From = bytes.NewReader(parent.Bytes()), ph.From
	h, files := describe(t, l)
	if files != "old/000:a older/003:b 000:c 000:d" {
		t.Error(files)
	}
	var names []string
	for _, p := range h.Parts {
		names = append(names, p.Name)
	}
	if got := strings.Join(names, " "); got != "000 old/000 older/003 old/001" {
		t.Error(got)
	}
	if !h.StartTime.Equal(ph.StartTime) || h.StartTimeline != 1 || len(h.BadPages) != 1 {
		t.Errorf("%+v", h)
	}
	l.Header.StartTimeline, l.Parent = 2, bytes.NewReader(parent.Bytes())
	if h, _ := describe(t, l); h.StartTimeline != 0 {
		t.Error("times are trusted on another timeline")
	}
}

// Bad pages are known of the version of a file that counts, and of no other.
func TestLeftoverFindsBadPages(t *testing.T) {
	page := func(c string) string { return strings.Repeat(c, 8192) } // without a good checksum
	zero, path := page("\x00"), "base/1/16384.1"
	var said []string
	l := shelf{
		"000": tarOf(t, map[string]string{path: page("a"), "base/1/16385": zero + page("b"), "base/1/notes": page("c")}),
		"001": tarOf(t, map[string]string{path: zero + zero + page("d") + "torn"}),
	}.leftover(&said)
	if h, _ := describe(t, l); len(h.BadPages) != 0 {
		t.Errorf("without checksums: %v", h.BadPages)
	}
	l.Header.Checksums, l.Header.BlockSize = true, 8192
	h, _ := describe(t, l)
	if len(h.BadPages) != 2 || h.BadPages[0].Path != path || h.BadPages[0].Block != 131072+2 ||
		h.BadPages[1].Path != "base/1/16385" || h.BadPages[1].Block != 1 {
		t.Errorf("%+v", h.BadPages)
	}
	if sum := h.BadPages[0].First; sum != h.BadPages[0].Last || sum.Stored != 0x6464 || sum.Computed == sum.Stored {
		t.Errorf("sums %v", sum)
	}
}

func TestLeftoverThroughSource(t *testing.T) {
	plain := tarOf(t, map[string]string{"a": "text"})
	hidden := bytes.Clone(plain)
	for i, c := range hidden {
		hidden[i] = 255 - c
	}
	dir := t.TempDir()
	for name, b := range map[string][]byte{"b-000-k000": plain, "b-002-k002": plain} {
		if err := os.WriteFile(dir+"/"+name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var said []string
	l := shelf{"000": hidden, "001": hidden, "002": hidden}.leftover(&said)
	l.Source = filter.Command{Text: `cat "` + dir + `/$LABEL-$PART-$KEY" && [ $PART != 002 ]`}
	h, files := describe(t, l)
	sum := sha256.Sum256(hidden)
	if files != "000:a" || len(said) != 2 || h.Parts[0].SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("%s, %q, %+v", files, said, h.Parts)
	}
}

// What cannot be read is an error, and no reason to copy it again.
func TestLeftoverErrors(t *testing.T) {
	var said []string
	l := shelf{"000": tarOf(t, map[string]string{"a": "text"})}.leftover(&said)
	l.Open = func(context.Context, string) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(make([]byte, 100)), broken{})), nil
	}
	if err := l.WriteManifest(t.Context(), io.Discard); err != errBroken {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (shelf{"000": tarOf(t, map[string]string{"a": "text"})}).leftover(&said).WriteManifest(ctx, io.Discard); err == nil {
		t.Error("no error after the end of the context")
	}
}

var errBroken = fmt.Errorf("disk failed")

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errBroken }

// Whatever the parts are, of each path the latest that is in a whole part is
// listed, with the hash of what is there.
func TestLeftoverOfRandomParts(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 0))
		s, want := shelf{}, map[string]string{}
		for i := range 1 + r.IntN(6) {
			name, files := manifest.PartName(i), map[string]string{}
			for range r.IntN(10) {
				files[fmt.Sprintf("base/1/%d", r.IntN(12))] = strings.Repeat("x", r.IntN(3000))
			}
			b := tarOf(t, files)
			if r.IntN(3) == 0 {
				b = b[:r.IntN(len(b))]
			} else {
				for path := range files {
					want[path] = name
				}
			}
			s[name] = compressed(t, codec.Formats()[r.IntN(5)], b)
		}
		var said []string
		_, files := describe(t, s.leftover(&said))
		var list []string
		for _, path := range slices.Sorted(maps.Keys(want)) {
			list = append(list, want[path]+":"+path)
		}
		if got := strings.Join(list, " "); got != files {
			t.Fatalf("seed %d: %s, want %s (%q)", seed, files, got, said)
		}
	}
}

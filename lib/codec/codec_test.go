package codec

import (
	"bytes"
	"errors"
	"io"
	"math/rand"
	"strings"
	"testing"
)

// sample is n bytes that compress about as well as a table's pages.
func sample(n int) []byte {
	rnd := rand.New(rand.NewSource(1))
	var b bytes.Buffer
	for b.Len() < n {
		word := make([]byte, 4+rnd.Intn(12))
		rnd.Read(word)
		for range 1 + rnd.Intn(4) {
			b.Write(word)
			b.WriteString(strings.Repeat("\x00", rnd.Intn(6)))
		}
	}
	return b.Bytes()[:n]
}

// pack compresses data in one go.
func pack(t testing.TB, data []byte, o Options) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, o)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := w.Write(data); err != nil || n != len(data) {
		t.Fatalf("Write: %d, %v", n, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// unpack decompresses all of b.
func unpack(b []byte, jobs int) ([]byte, error) {
	r, err := NewReader(bytes.NewReader(b), jobs)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// compressed are the formats that change the bytes.
func compressed() []Format { return []Format{Zstd, Gzip, Xz, Lz4} }

func TestByName(t *testing.T) {
	for _, f := range Formats() {
		if got, err := ByName(f.Name); err != nil || got != f {
			t.Errorf("ByName(%q) = %v, %v", f.Name, got, err)
		}
	}
	for _, name := range []string{"", "ZSTD", "zst", ".gz", "bzip2"} {
		if _, err := ByName(name); !errors.Is(err, ErrFormat) {
			t.Errorf("ByName(%q): %v", name, err)
		}
	}
}

func TestSplitName(t *testing.T) {
	for _, c := range []struct {
		key, plain string
		format     Format
	}{
		{"000000010000000000000001.zst", "000000010000000000000001", Zstd},
		{"base/x/000.tar.gz", "base/x/000.tar", Gzip},
		{"a.xz", "a", Xz},
		{"a.lz4", "a", Lz4},
		{"a", "a", None},
		{"", "", None},
		{"a.zst.gz", "a.zst", Gzip},
		{".zst", ".zst", None},
		{"dir/.zst", "dir/.zst", None},
		{"a.ZST", "a.ZST", None},
		{"a.zst/b", "a.zst/b", None},
	} {
		if plain, f := SplitName(c.key); plain != c.plain || f != c.format {
			t.Errorf("SplitName(%q) = %q, %v", c.key, plain, f)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
		ok   bool
	}{
		{"default", Options{Format: Zstd}, true},
		{"zstd 22", Options{Format: Zstd, Level: 22}, true},
		{"zstd 23", Options{Format: Zstd, Level: 23}, false},
		{"negative", Options{Format: Zstd, Level: -1}, false},
		{"gzip 9", Options{Format: Gzip, Level: 9}, true},
		{"gzip 10", Options{Format: Gzip, Level: 10}, false},
		{"xz 10", Options{Format: Xz, Level: 10}, false},
		{"lz4 9", Options{Format: Lz4, Level: 9}, true},
		{"lz4 10", Options{Format: Lz4, Level: 10}, false},
		{"none 1", Options{Format: None, Level: 1}, false},
		{"negative jobs", Options{Format: Zstd, Jobs: -1}, false},
		{"small frame", Options{Format: Zstd, Frame: minFrame - 1}, false},
		{"large frame", Options{Format: Zstd, Frame: maxFrame + 1}, false},
		{"no format", Options{}, false},
	} {
		if _, err := NewWriter(io.Discard, c.o); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := NewReader(strings.NewReader("x"), -1); err == nil {
		t.Error("a negative number of jobs is taken by NewReader")
	}
}

func TestDetection(t *testing.T) {
	for _, c := range []struct {
		name, input string
		want        error
		text        string
	}{
		{"empty", "", ErrCorrupt, "empty input"},
		{"text", "PostgreSQL", ErrFormat, "506f73746772"},
		{"one byte", "x", ErrFormat, "78"},
		{"half a magic", "\x28\xb5", ErrCorrupt, "zstd: cut short"},
		{"skippable, then text", "\x50\x2a\x4d\x18\x01\x00\x00\x00xPostgreSQL", ErrFormat, "506f73746772"},
		{"skippable, then gzip", "\x50\x2a\x4d\x18\x01\x00\x00\x00x\x1f\x8b\x08\x00\x00\x00", ErrFormat, "1f8b08"},
		{"skippable, cut", "\x50\x2a\x4d\x18\xff\xff\xff\xffx", ErrCorrupt, "cut short"},
		{"bzip2", "BZh91AY", ErrFormat, "425a68"},
	} {
		_, err := NewReader(strings.NewReader(c.input), 1)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestReaderFormat(t *testing.T) {
	data := sample(1000)
	for _, f := range Formats() {
		r, err := NewReaderFormat(bytes.NewReader(pack(t, data, Options{Format: f})), f, 1)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, %v", f, len(got), err)
		}
	}
	for _, input := range [][]byte{nil, []byte("raw bytes, stored as if compressed"), pack(t, data, Options{Format: Gzip})} {
		if _, err := NewReaderFormat(bytes.NewReader(input), Zstd, 1); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%.10q as zstd: %v", input, err)
		}
	}
	if _, err := NewReaderFormat(strings.NewReader(""), Format{}, 1); !errors.Is(err, ErrFormat) {
		t.Errorf("no format: %v", err)
	}
	r, err := NewReaderFormat(strings.NewReader(""), None, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || len(got) != 0 {
		t.Errorf("nothing, uncompressed: %q, %v", got, err)
	}
}

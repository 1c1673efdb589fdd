package manifest

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestAddRefuses(t *testing.T) {
	change := func(f func(e *Entry)) Entry {
		e := file("base/1")
		f(&e)
		return e
	}
	withPath := func(p string) Entry { return change(func(e *Entry) { e.Path = p }) }
	cases := map[string]Entry{
		"no path":           withPath(""),
		"absolute":          withPath("/etc/passwd"),
		"parent":            withPath(".."),
		"below the parent":  withPath("../x"),
		"not clean":         withPath("a/../b"),
		"leading dot":       withPath("./a"),
		"slash at the end":  withPath("a/"),
		"two slashes":       withPath("a//b"),
		"NUL":               withPath("a\x00b"),
		"file as the root":  withPath("."),
		"too long":          withPath(strings.Repeat("a/", maxLine/2) + "a"),
		"kind":              change(func(e *Entry) { e.Kind = 'x' }),
		"mode of Go":        change(func(e *Entry) { e.Mode = os.ModeSetuid | 0o755 }),
		"negative size":     change(func(e *Entry) { e.Size = -1 }),
		"hash":              change(func(e *Entry) { e.SHA256 = "abc" }),
		"hash in upper":     change(func(e *Entry) { e.SHA256 = strings.ToUpper(e.SHA256) }),
		"part":              change(func(e *Entry) { e.Part = "a/b" }),
		"part's directory":  change(func(e *Entry) { e.Part = "../000" }),
		"part's long label": change(func(e *Entry) { e.Part = strings.Repeat("x", 65) + "/000" }),
		"two labels":        change(func(e *Entry) { e.Part = "a/b/000" }),
		"file with target":  change(func(e *Entry) { e.Target = "x" }),
		"link to nothing":   link("a", ""),
		"link with NUL":     link("a", "\x00"),
		"directory's size":  change(func(e *Entry) { e.Kind, e.SHA256 = Directory, "" }),
		"directory's hash":  change(func(e *Entry) { e.Kind, e.Size = Directory, 0 }),
		"sum above 1<<63-1": change(func(e *Entry) { e.Size = 1<<63 - 1 }),
	}
	for name, e := range cases {
		t.Run(name, func(t *testing.T) {
			w := NewWriter(t.TempDir())
			if err := w.Add(file("first")); err != nil {
				t.Fatal(err)
			}
			if err := w.Add(e); err == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v", err)
			}
			var b bytes.Buffer
			if err := w.Finish(&b, Header{}); err != nil {
				t.Fatal(err)
			}
			if _, got, err := read(&b); err != nil || len(got) != 1 {
				t.Errorf("%d entries, %v", len(got), err)
			}
		})
	}
}

func TestFinishRefuses(t *testing.T) {
	unhashed := file("a")
	unhashed.SHA256 = ""
	cases := []struct {
		name    string
		entries []Entry
		header  Header
		want    string
	}{
		{"twice", []Entry{file("a"), file("b"), file("a")}, Header{}, "a: twice"},
		{"below a file", []Entry{file("a/b"), file("a"), file("a-b")}, Header{}, "a/b: below a, which is not a directory"},
		{"below a link", []Entry{link("a", "/etc"), file("a/b/c")}, Header{}, "a/b/c: below a,"},
		{"no hash", []Entry{unhashed}, Header{}, "a: file without a hash"},
		{"part without receipt", []Entry{file("a")}, Header{Parts: []Part{{Name: "001"}}}, "part 000"},
		{"extra", nil, Header{Extra: [][2]string{{"label", "x"}}}, ""},
		{"extra with lines", nil, Header{Extra: [][2]string{{"x-a", "b\nfiles\t7"}}}, ""},
		{"extra with controls", nil, Header{Extra: [][2]string{{"x-a", "\x1b[2J"}}}, ""},
		{"segment size", nil, Header{SegmentSize: 12345}, "wal-segment-size"},
		{"negative", nil, Header{Major: -15}, "postgresql"},
		{"receipt", nil, Header{Parts: []Part{{Name: "000", SHA256: "x"}}}, "part"},
		{"receipt's size", nil, Header{Parts: []Part{{Name: "000", Size: -1}}}, "part"},
		{"parent", nil, Header{Parent: ".x"}, "parent"},
		{"no path", nil, Header{Tablespaces: []Tablespace{{OID: 1}}}, "tablespace"},
		{"long line", nil, Header{Label: strings.Repeat("x", maxLine)}, "too long"},
	}
	for _, c := range cases {
		for _, limit := range []int{runSize, 1} {
			t.Run(fmt.Sprint(c.name, limit), func(t *testing.T) {
				w := NewWriter(t.TempDir())
				w.sorter.limit = limit
				defer w.Close()
				for _, e := range c.entries {
					if err := w.Add(e); err != nil {
						t.Fatal(err)
					}
				}
				var b bytes.Buffer
				if err := w.Finish(&b, c.header); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want %s", err, c.want)
				}
				if _, _, err := read(&b); err == nil {
					t.Error("what it has written passes for a manifest")
				}
			})
		}
	}
}

// randomPath makes paths that share beginnings, of bytes of all sorts.
func randomPath(r *rand.Rand) string {
	const bytes = "ab-./\\\n\x00\x7f\xff\xc3\xa9\xe2 "
	b := make([]byte, 1+r.IntN(8))
	for i := range b {
		b[i] = bytes[r.IntN(len(bytes))]
	}
	return string(b)
}

func TestSortOfRandomEntries(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		want := map[string]Entry{}
		for range 200 {
			if e := directory(randomPath(r)); e.check() == nil {
				want[e.Path] = e
			}
		}
		var entries []Entry
		for _, e := range want {
			entries = append(entries, e)
		}
		inMemory := write(t, runSize, Header{}, entries...)
		for _, limit := range []int{1, 100, 1000} {
			if got := write(t, limit, Header{}, entries...); !bytes.Equal(got, inMemory) {
				t.Fatalf("seed %d, runs of %d bytes: not the same as in memory", seed, limit)
			}
		}
		_, got, err := read(bytes.NewReader(inMemory))
		if err != nil || len(got) != len(want) {
			t.Fatalf("seed %d: %d of %d entries, %v", seed, len(got), len(want), err)
		}
		for _, e := range got {
			if e != want[e.Path] {
				t.Fatalf("seed %d: %+v", seed, e)
			}
		}
	}
}

func TestSpilledLongLines(t *testing.T) {
	var entries []Entry
	for i := range 300 {
		entries = append(entries, directory(fmt.Sprintf("%03d", i*7%300)+strings.Repeat("x\n", i*30)))
	}
	if !bytes.Equal(write(t, 10_000, Header{}, entries...), write(t, runSize, Header{}, entries...)) {
		t.Error("not the same as in memory")
	}
}

func TestTemporaryFileHasNoName(t *testing.T) {
	dir := t.TempDir()
	w := NewWriter(dir)
	w.sorter.limit = 1
	for _, e := range allEntries() {
		if err := w.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.sorter.runs) != len(allEntries())-1 {
		t.Errorf("%d runs", len(w.sorter.runs))
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error("closed again:", err)
	}
}

func TestNoTemporaryDirectory(t *testing.T) {
	w := NewWriter(t.TempDir() + "/absent")
	w.sorter.limit = 1
	if err := w.Add(file("a")); err != nil {
		t.Fatal(err)
	}
	if err := w.Add(file("b")); !os.IsNotExist(err) {
		t.Errorf("error %v", err)
	}
}

func TestEntries(t *testing.T) {
	unhashed := file("zzz")
	unhashed.SHA256 = ""
	entries := append(allEntries(), unhashed)
	for _, limit := range []int{runSize, 300} {
		w := NewWriter(t.TempDir())
		w.sorter.limit = limit
		for _, e := range entries {
			if err := w.Add(e); err != nil {
				t.Fatal(err)
			}
		}
		want := slices.SortedFunc(slices.Values(entries), func(a, b Entry) int {
			return strings.Compare(Escape(a.Path), Escape(b.Path))
		})
		for range 2 {
			if got, err := collect(w.Entries()); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%v\n%v, want\n%v", err, got, want)
			}
		}
		w.Add(file("zzz"))
		if _, err := collect(w.Entries()); err == nil {
			t.Error("the same path twice is not refused")
		}
		w.Close()
	}
}

func BenchmarkWriter(b *testing.B) {
	w := NewWriter(b.TempDir())
	defer w.Close()
	e := file("x")
	for i := range b.N {
		e.Path = fmt.Sprintf("base/%d/%d", i%1000, i)
		if err := w.Add(e); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Finish(io.Discard, Header{}); err != nil {
		b.Fatal(err)
	}
}

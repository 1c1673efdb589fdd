package manifest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// in is an entry that lies in a part.
func in(part string, e Entry) Entry {
	e.Part = part
	return e
}

// layered puts entries into Layers with runs of at most limit bytes.
func layered(t *testing.T, limit int, entries ...Entry) *Layers {
	t.Helper()
	l := NewLayers(t.TempDir())
	l.sorter.limit = limit
	t.Cleanup(func() { l.Close() })
	for _, e := range entries {
		if err := l.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// placed lists entries as PART:PATH.
func placed(t *testing.T, s EntrySource) (list []string) {
	t.Helper()
	all, err := collect(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		list = append(list, e.Part+":"+e.Path)
	}
	return list
}

func TestLatest(t *testing.T) {
	cases := []struct {
		name    string
		entries []Entry
		want    string
	}{
		{"nothing", nil, ""},
		{"by number, not by order", []Entry{in("002", file("a")), in("000", file("a")), in("001", file("b"))}, "002:a 001:b"},
		{"by number, not by digits", []Entry{in("999", file("a")), in("1000", file("a"))}, "1000:a"},
		{"its own before another's", []Entry{in("x/007", file("a")), in("000", file("a")), in("x/007", file("b"))}, "000:a x/007:b"},
		{"below a file", []Entry{in("000", file("a/b")), in("001", file("a")), in("000", file("a-b")), in("000", file("a/c"))}, "001:a 000:a-b"},
		{"no file any more", []Entry{in("000", file("a")), in("001", directory("a")), in("001", file("a/b"))}, "001:a 001:a/b"},
	}
	for _, c := range cases {
		for _, limit := range []int{runSize, 1} {
			got := strings.Join(placed(t, layered(t, limit, c.entries...).Latest()), " ")
			if got != c.want {
				t.Errorf("%s: %q, want %q", c.name, got, c.want)
			}
		}
	}
}

func TestNamed(t *testing.T) {
	l := layered(t, 1, in("000", file("a")), in("001", file("a")), in("002", file("a")), in("000", file("c")), in("001", file("e")))
	want := &list{entries: []Entry{in("001", file("a")), in("", directory("b")), in("001", file("c")), in("001", file("d")), in("001", file("e")), in("001", file("f"))}}
	if got := strings.Join(placed(t, l.Named(want)), " "); got != "001:a :b 001:e" {
		t.Error(got)
	}
}

// Of random layers, what is latest is what a map says, and a manifest of that
// finds the same again.
func TestRandomLayers(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 0))
		var entries []Entry
		last := map[string]int{}
		for part := range 5 {
			for i := range 20 {
				if r.IntN(2) == 0 {
					path := fmt.Sprintf("%c%d", "a\n\xffz"[i%4], i)
					entries = append(entries, in(fmt.Sprintf("%03d", part), file(path)))
					last[path] = part
				}
			}
		}
		r.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
		l := layered(t, 1+r.IntN(2000), entries...)
		var want []string
		for path, part := range last {
			want = append(want, fmt.Sprintf("%03d:%s", part, path))
		}
		byPath := func(a, b string) int { return strings.Compare(Escape(a[4:]), Escape(b[4:])) }
		slices.SortFunc(want, byPath)
		if got := placed(t, l.Latest()); !slices.Equal(got, want) {
			t.Fatalf("seed %d: %q, want %q", seed, got, want)
		}
		if got := placed(t, l.Named(l.Latest())); !slices.Equal(got, want) {
			t.Fatalf("seed %d: named %q, want %q", seed, got, want)
		}
	}
}

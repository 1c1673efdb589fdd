package archive

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgpipes/lib/codec"
	"pgpipes/lib/layout"
	"pgpipes/lib/store"
	"pgpipes/test/fixture"
)

func push(t testing.TB, r *Repo, s string, contents []byte, o codec.Options) error {
	t.Helper()
	_, err := r.Push(t.Context(), name(t, s), memory(contents), o, nil)
	return err
}

func keys(t *testing.T, r *Repo, prefix string) (found []string) {
	t.Helper()
	for info, err := range r.List(context.Background(), prefix, "") {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, info.Key)
	}
	return found
}

func TestPushThenGet(t *testing.T) {
	for _, format := range codec.Formats() {
		r := repository(t)
		for file, contents := range map[string][]byte{
			three:                      fixture.Segment{Name: three, Sparse: true}.Bytes(),
			three + ".partial":         fixture.Segment{Name: three, Sparse: true}.Bytes(),
			three + ".00000028.backup": []byte(backupHistory),
			"00000002.history":         []byte(fork2),
			"000000020000000000000003": fixture.Segment{Name: "000000020000000000000003", Timeline: 1, Sparse: true}.Bytes(),
		} {
			for range 2 { // again is no error
				if err := push(t, r, file, contents, codec.Options{Format: format}); err != nil {
					t.Fatal(err)
				}
			}
			got, warned, err := get(t, &ours, file, r.Location)
			if err != nil || len(warned) > 0 || !bytes.Equal(got, contents) {
				t.Errorf("%s %s: %d bytes, %v, %v", format.Name, file, len(got), warned, err)
			}
		}
		want := []string{
			"wal/0000000100000000/" + three + ".00000028.backup", "wal/0000000100000000/" + three + ".partial" + format.Suffix,
			"wal/0000000100000000/" + three + format.Suffix, "wal/0000000200000000/000000020000000000000003" + format.Suffix,
			"wal/history/00000002.history",
		}
		slices.Sort(want)
		if got := keys(t, r, layout.WAL); !slices.Equal(got, want) {
			t.Errorf("%s: stored %q, want %q", format.Name, got, want)
		}
	}
}

func TestPushOfOtherContents(t *testing.T) {
	r := repository(t)
	first, second := fixture.Segment{Name: three}.Bytes(), fixture.Segment{Name: three, Seed: 1}.Bytes()
	if err := push(t, r, three, first, plain); err != nil {
		t.Fatal(err)
	}
	for _, format := range codec.Formats() {
		err := push(t, r, three, second, codec.Options{Format: format})
		if !errors.Is(err, store.ErrDiffers) || strings.Count(err.Error(), "sha256") != 1 || !strings.Contains(err.Error(), "offered") {
			t.Errorf("%s: %v", format.Name, err)
		}
	}
	got, _, err := get(t, &ours, three, r.Location)
	if err != nil || !bytes.Equal(got, first) || len(keys(t, r, layout.WAL)) != 1 {
		t.Errorf("%v; stored %q", err, keys(t, r, layout.WAL))
	}
}

func TestPushOverADamagedCopy(t *testing.T) {
	contents := fixture.Segment{Name: three, Sparse: true}.Bytes()
	for _, format := range []codec.Format{codec.Zstd, codec.Gzip, codec.Xz, codec.Lz4, codec.None} {
		for what, damage := range map[string]func([]byte) []byte{
			"cut":     func(b []byte) []byte { return b[:len(b)/2] },
			"empty":   func([]byte) []byte { return nil },
			"flipped": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
			"longer":  func(b []byte) []byte { return append(b, "garbage"...) },
		} {
			r := repository(t)
			if err := push(t, r, three, contents, codec.Options{Format: format}); err != nil {
				t.Fatal(err)
			}
			key := layout.WALKey(name(t, three)) + format.Suffix
			path := filepath.Join(r.Location, key)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			bad := damage(b)
			r.place(t, key, bad)
			if err := push(t, r, three, contents, codec.Options{Format: codec.Zstd}); err == nil {
				t.Errorf("%s, %s: taken for stored", format.Name, what)
			}
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, bad) {
				t.Errorf("%s, %s: the stored copy was changed: %v", format.Name, what, err)
			}
			got, _, err := get(t, &ours, three, r.Location)
			switch {
			case format == codec.None && what == "flipped": // nothing but the header is checked
			case !errors.Is(err, ErrDamaged) || got != nil:
				t.Errorf("%s, %s: get: %d bytes, %v", format.Name, what, len(got), err)
			}
		}
	}
}

func TestPushOfAFileThatShrinks(t *testing.T) {
	r := repository(t)
	contents := fixture.Segment{Name: three}.Bytes()
	c := Content{bytes.NewReader(contents[:1<<19]), int64(len(contents))}
	if _, err := r.Push(t.Context(), name(t, three), c, plain, nil); err == nil {
		t.Error("stored")
	}
	if got := keys(t, r, layout.WAL); got != nil {
		t.Errorf("stored %q", got)
	}
}

func TestGetFromSeveral(t *testing.T) {
	have, lack, damaged := repository(t), repository(t), repository(t)
	down := filepath.Join(t.TempDir(), "not/mounted")
	contents := fixture.Segment{Name: three}.Bytes()
	pushed(t, have, plain, three)
	damaged.place(t, layout.WALKey(name(t, three))+".zst", []byte("nonsense"))
	holed := repository(t)
	holed.mark(t, "000000010000000000000009")
	for _, test := range []struct {
		name      string
		locations []string
		warnings  int
	}{
		{"second has it", []string{lack.Location, have.Location}, 0},
		{"first is down", []string{down, have.Location}, 1},
		{"first is damaged", []string{damaged.Location, have.Location}, 1},
		{"first has a hole", []string{holed.Location, have.Location}, 1},
		{"all of them", []string{down, lack.Location, damaged.Location, holed.Location, have.Location}, 3},
		{"last is down", []string{have.Location, down}, 0},
	} {
		got, warned, err := get(t, &ours, three, test.locations...)
		if err != nil || !bytes.Equal(got, contents) || len(warned) != test.warnings {
			t.Errorf("%s: %d bytes, warnings %v, %v", test.name, len(got), warned, err)
		}
	}
	for what, test := range map[string]struct {
		locations []string
		want      error
	}{
		"all lack it":      {[]string{lack.Location, repository(t).Location}, store.ErrNotExist},
		"one is down":      {[]string{lack.Location, down}, ErrNoRepository},
		"one is damaged":   {[]string{damaged.Location, lack.Location}, ErrDamaged},
		"one has a hole":   {[]string{lack.Location, holed.Location}, ErrHole},
		"all kinds at all": {[]string{holed.Location, down, damaged.Location}, ErrHole},
	} {
		_, _, err := get(t, &ours, three, test.locations...)
		if !errors.Is(err, test.want) || test.want != store.ErrNotExist && errors.Is(err, store.ErrNotExist) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestGetIgnoresOtherCodecsThatAreDamaged(t *testing.T) {
	r := repository(t)
	contents := fixture.Segment{Name: three}.Bytes()
	pushed(t, r, codec.Options{Format: codec.Gzip}, three)
	r.place(t, layout.WALKey(name(t, three))+".zst", []byte("nonsense"))
	got, warned, err := get(t, &ours, three, r.Location)
	if err != nil || !bytes.Equal(got, contents) || len(warned) != 1 || !errors.Is(warned[0], ErrDamaged) {
		t.Errorf("%d bytes, warnings %v, %v", len(got), warned, err)
	}
}

// An object whose name is right and whose contents are another's.
func TestGetChecksContents(t *testing.T) {
	for what, contents := range map[string][]byte{
		"another segment's":  fixture.Segment{Name: "000000010000000000000004"}.Bytes(),
		"another cluster's":  fixture.Segment{Name: three, SystemID: 1}.Bytes(),
		"another release's":  fixture.Segment{Name: three, Magic: 0xD118}.Bytes(),
		"another size's":     fixture.Segment{Name: "000000010000000000000003", Size: 2 << 20}.Bytes(),
		"a later timeline's": fixture.Segment{Name: three, Timeline: 2}.Bytes(),
		"too short":          fixture.Segment{Name: three, Length: 1<<20 - 1}.Bytes(),
		"too long":           fixture.Segment{Name: three, Length: 1<<20 + 1}.Bytes(),
		"zeros":              make([]byte, 1<<20),
		"nothing":            nil,
	} {
		r := repository(t)
		r.place(t, layout.WALKey(name(t, three)), contents)
		if got, _, err := get(t, nil, three, r.Location); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %d bytes, %v", what, len(got), err)
		}
	}
	r := repository(t)
	r.branch(t, 2, "cut")
	if _, _, err := get(t, nil, "00000002.history", r.Location); !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged history: %v", err)
	}
}

func TestGetForAnotherCluster(t *testing.T) {
	r := repository(t)
	pushed(t, r, plain, three)
	other := ours
	other.SystemID++
	for _, wanted := range []string{three, "000000010000000000000009"} {
		if _, _, err := get(t, &other, wanted, r.Location); !errors.Is(err, ErrForeign) || errors.Is(err, store.ErrNotExist) {
			t.Errorf("%s: %v", wanted, err)
		}
	}
}

// A bomb stops soon after the size of a segment.
func TestGetBoundsWhatItUnpacks(t *testing.T) {
	r := repository(t)
	var packed bytes.Buffer
	z, err := codec.NewWriter(&packed, codec.Options{Format: codec.Gzip})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(z, zeros{}, 256<<20); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	r.place(t, layout.WALKey(name(t, three))+".gz", packed.Bytes())
	f, err := r.Fetch(context.Background(), layout.WALKey(name(t, three))+".gz", name(t, three), filepath.Join(t.TempDir(), "x"))
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("%v, %v", f, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestSpool(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s, err := Spool(strings.NewReader("contents"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(s.Reader())
	if err != nil || string(got) != "contents" || s.Size != 8 {
		t.Errorf("%q, %d, %v", got, s.Size, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestClusterAt(t *testing.T) {
	dir := t.TempDir()
	if c, err := ClusterAt(dir); c != nil || err != nil {
		t.Errorf("no data directory: %v, %v", c, err)
	}
	if err := fixture.DataDirectory(dir, fixture.SystemID, mib); err != nil {
		t.Fatal(err)
	}
	if c, err := ClusterAt(dir); err != nil || *c != ours {
		t.Errorf("%v, %v", c, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "global/pg_control"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := ClusterAt(dir); err == nil {
		t.Errorf("damaged: %v", c)
	}
}

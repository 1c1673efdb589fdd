package archive

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgpipes/lib/layout"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
)

const (
	fork2 = "1\t0/300100\tno recovery target specified\n"           // timeline 2 leaves 1 in segment 3
	fork3 = fork2 + "2\t0/500000\tno recovery target specified\n"   // timeline 3 leaves 2 at the beginning of segment 5
	back3 = "1\t0/300100\tx\n2\t0/200100\tbefore its own beginning" // leaves 1 in segment 2
)

// What may be called absent, and what must have existed.
func TestAbsentOrHole(t *testing.T) {
	tests := []struct {
		name      string
		there     []string
		histories map[wal.Timeline]string
		wanted    string
		hole      string // a word of the message, "" for absent
	}{
		{"empty repository", nil, nil, "000000010000000000000003", ""},
		{"the next", []string{"000000010000000000000003"}, nil, "000000010000000000000004", ""},
		{"in the middle", []string{"000000010000000000000003", "000000010000000000000005"}, nil, "000000010000000000000004", "000000010000000000000005"},
		{"before the first", []string{"000000010000000000000005"}, nil, "000000010000000000000004", "000000010000000000000005"},
		{"before another log", []string{"000000010000000100000000"}, nil, "000000010000000000000FFF", "000000010000000100000000"},
		{"only its own partial", []string{"000000010000000000000004.partial"}, nil, "000000010000000000000004", ""},
		{"only its own notes", []string{"000000010000000000000004.00000028.backup"}, nil, "000000010000000000000004", ""},
		{"a later partial", []string{"000000010000000000000005.partial"}, nil, "000000010000000000000004", "000000010000000000000005.partial"},
		{"a later one in zstd", []string{"000000010000000000000005"}, nil, "000000010000000000000004", "later file"},
		{"an earlier one", []string{"000000010000000000000002"}, nil, "000000010000000000000004", ""},
		{"a later one of another timeline", []string{"000000020000000000000005"}, nil, "000000010000000000000004", ""},
		{"a later timeline whose prefix is ours", []string{"000000110000000000000005"}, nil, "000000010000000000000004", ""},

		{"fork after it", nil, map[wal.Timeline]string{2: fork2}, "000000010000000000000002", "timeline 2"},
		{"fork in it", nil, map[wal.Timeline]string{2: fork2}, "000000010000000000000003", ""},
		{"fork before it", nil, map[wal.Timeline]string{2: fork2}, "000000010000000000000004", ""},
		{"fork of a grandchild", nil, map[wal.Timeline]string{3: fork3}, "000000020000000000000004", "timeline 3"},
		{"fork at its beginning", nil, map[wal.Timeline]string{3: fork3}, "000000020000000000000005", ""},
		{"fork of the child's end", nil, map[wal.Timeline]string{2: fork2, 3: back3 + "\n"}, "000000010000000000000001", "branches off"},
		{"not of an ancestor", nil, map[wal.Timeline]string{3: fork3}, "000000040000000000000001", ""},

		{"first of a child, parent's there", []string{"000000010000000000000003"}, map[wal.Timeline]string{2: fork2}, "000000020000000000000003", "ancestor's"},
		{"first of a child, parent's missing", []string{"000000010000000000000002"}, map[wal.Timeline]string{2: fork2}, "000000020000000000000003", ""},
		{"first of a grandchild, grandparent's there", []string{"000000010000000000000002"}, map[wal.Timeline]string{2: fork2, 3: back3 + "\n"}, "000000030000000000000002", "ancestor's"},
		{"second of a child", []string{"000000010000000000000004"}, map[wal.Timeline]string{2: fork2}, "000000020000000000000004", ""},

		{"history of the first timeline", []string{"000000010000000000000003"}, map[wal.Timeline]string{2: fork2}, "00000001.history", ""},
		{"next history", nil, map[wal.Timeline]string{2: fork2}, "00000003.history", ""},
		{"no history at all", nil, nil, "00000002.history", ""},
		{"gap in the histories", nil, map[wal.Timeline]string{3: fork3}, "00000002.history", "00000003.history"},
		{"segment without its history", []string{"000000020000000000000005"}, nil, "00000002.history", "000000020000000000000005"},
		{"segment of another timeline", []string{"000000110000000000000005"}, nil, "00000001.history", ""},

		{"a partial", []string{"000000010000000000000005"}, nil, "000000010000000000000004.partial", ""},
		{"a backup's notes", []string{"000000010000000000000005"}, nil, "000000010000000000000004.00000028.backup", ""},
		{"foreign files in between", nil, nil, "000000010000000000000004", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := repository(t)
			r.mark(t, test.there...)
			r.place(t, "wal/0000000100000000/README", nil)
			r.place(t, "wal/history/README", nil)
			for tli, text := range test.histories {
				r.branch(t, tli, text)
			}
			_, _, err := get(t, nil, test.wanted, r.Location)
			switch {
			case test.hole == "" && !errors.Is(err, store.ErrNotExist):
				t.Errorf("%v, want absent", err)
			case test.hole != "" && (!errors.Is(err, ErrHole) || errors.Is(err, store.ErrNotExist) || !strings.Contains(err.Error(), test.hole)):
				t.Errorf("%v, want a hole because of %q", err, test.hole)
			}
		})
	}
}

// What cannot be read proves nothing.
func TestDamageIsNotAbsent(t *testing.T) {
	tests := map[string]func(t *testing.T, r *Repo){
		"a history":          func(t *testing.T, r *Repo) { r.branch(t, 2, "1\t0/30") },
		"an empty history":   func(t *testing.T, r *Repo) { r.branch(t, 2, "") },
		"the identity":       func(t *testing.T, r *Repo) { r.place(t, layout.Identity, []byte("nonsense")) },
		"an empty identity":  func(t *testing.T, r *Repo) { r.place(t, layout.Identity, nil) },
		"no identity":        func(t *testing.T, r *Repo) { remove(t, r, layout.Identity) },
		"no repository":      func(t *testing.T, r *Repo) { remove(t, r, "") },
		"a file for wal":     func(t *testing.T, r *Repo) { remove(t, r, "wal"); r.place(t, "wal", nil) },
		"wal is not mounted": func(t *testing.T, r *Repo) { link(t, r, "/not/mounted", "wal") },
		"histories are not mounted": func(t *testing.T, r *Repo) {
			r.mark(t, "000000010000000000000001")
			link(t, r, "/not/mounted", "wal/history")
		},
	}
	for what, damage := range tests {
		t.Run(what, func(t *testing.T) {
			r := repository(t)
			r.mark(t, "000000010000000000000001")
			damage(t, r)
			for _, wanted := range []string{"000000010000000000000004", "00000002.history"} {
				if _, _, err := get(t, nil, wanted, r.Location); err == nil || errors.Is(err, store.ErrNotExist) {
					t.Errorf("%s: %v", wanted, err)
				}
			}
		})
	}
}

// Where there is a backup there was WAL: an empty wal/, a disk of its own that
// is not mounted for one, is no end of the log.
func TestBackupWithoutWAL(t *testing.T) {
	r := repository(t)
	r.mark(t, "000000010000000000000001", "000000010000000000000002")
	files, err := fixture.Backup{Label: "b", First: 1, Last: 2, Stop: clock("10:00")}.Files()
	if err != nil {
		t.Fatal(err)
	}
	for file, contents := range files {
		r.place(t, layout.BaseKey("b", file), contents)
	}
	for wanted, there := range map[string]error{"000000010000000000000003": store.ErrNotExist, "00000002.history": store.ErrNotExist} {
		if _, _, err := get(t, nil, wanted, r.Location); !errors.Is(err, there) {
			t.Errorf("%s: %v", wanted, err)
		}
	}
	remove(t, r, "wal/0000000100000000")
	for _, wanted := range []string{"000000010000000000000002", "000000010000000000000003", "000000020000000000000003", "00000002.history"} {
		if _, _, err := get(t, nil, wanted, r.Location); !errors.Is(err, ErrHole) || errors.Is(err, store.ErrNotExist) {
			t.Errorf("%s with no WAL: %v", wanted, err)
		}
	}
}

// A backup that holds its WAL needs none of the archive, and proves nothing of
// what it holds; of what came before it, it does, if there is an archive at all.
func TestBackupWithItsWAL(t *testing.T) {
	r := repository(t)
	r.mark(t, "000000010000000000000001")
	files, err := fixture.Backup{Label: "b", First: 3, Last: 4, Stop: clock("10:00"), WAL: true}.Files()
	if err != nil {
		t.Fatal(err)
	}
	for file, contents := range files {
		r.place(t, layout.BaseKey("b", file), contents)
	}
	h, err := r.Header(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Coverage(t.Context())
	if missing := c.MissingFor(h); err != nil || missing != "" {
		t.Errorf("missing %s, %v", missing, err)
	}
	check := func(want map[string]error) {
		t.Helper()
		for wanted, is := range want {
			if _, _, err := get(t, nil, wanted, r.Location); !errors.Is(err, is) {
				t.Errorf("%s: %v", wanted, err)
			}
		}
	}
	absent := store.ErrNotExist
	check(map[string]error{"000000010000000000000002": ErrHole, "000000010000000000000003": absent, "000000010000000000000005": absent})
	remove(t, r, "wal/0000000100000000")
	check(map[string]error{"000000010000000000000002": absent, "000000010000000000000003": absent, "00000002.history": absent})
}

func remove(t *testing.T, r *Repo, key string) {
	t.Helper()
	fixture.Remove(t, r.Location, key)
}

func link(t *testing.T, r *Repo, target, key string) {
	t.Helper()
	remove(t, r, key)
	if err := os.Symlink(target, filepath.Join(r.Location, key)); err != nil {
		t.Fatal(err)
	}
}

package state_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"pgpipes/lib/state"
)

func TestOpenMakesItForTheUserAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	d, err := state.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"", "..", ".x", "a/b"} {
		if _, err := d.Path("push", part); !errors.Is(err, state.ErrUnfit) {
			t.Errorf("a part %q: %v", part, err)
		}
	}
	if _, err := state.Open(path); err != nil {
		t.Errorf("once more: %v", err)
	}
	below, err := d.Path("push", "ID")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{path, below} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v %v", dir, info, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	cases := map[string]func(t *testing.T, dir string) string{
		"open to others": func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "state")
			must(t, os.Mkdir(path, 0o700))
			must(t, os.Chmod(path, 0o750))
			return path
		},
		"a file": func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "state")
			must(t, os.WriteFile(path, nil, 0o600))
			return path
		},
		"a link": func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "state")
			must(t, os.Mkdir(filepath.Join(dir, "real"), 0o700))
			must(t, os.Symlink("real", path))
			return path
		},
		"a data directory": func(t *testing.T, dir string) string {
			must(t, os.MkdirAll(filepath.Join(dir, "global"), 0o700))
			must(t, os.WriteFile(filepath.Join(dir, "global/pg_control"), nil, 0o600))
			return dir
		},
		"in a data directory": func(t *testing.T, dir string) string {
			must(t, os.MkdirAll(filepath.Join(dir, "global"), 0o700))
			must(t, os.MkdirAll(filepath.Join(dir, "pg_wal"), 0o700))
			must(t, os.WriteFile(filepath.Join(dir, "global/pg_control"), nil, 0o600))
			return filepath.Join(dir, "pg_wal/state")
		},
		"in a pg_wal elsewhere": func(t *testing.T, dir string) string {
			must(t, os.MkdirAll(filepath.Join(dir, "wal/archive_status"), 0o700))
			must(t, os.Symlink("wal", filepath.Join(dir, "link")))
			return filepath.Join(dir, "link/state")
		},
	}
	for name, prepare := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := state.Open(prepare(t, t.TempDir())); !errors.Is(err, state.ErrUnfit) {
				t.Errorf("%v", err)
			}
		})
	}
	if _, err := state.Open(filepath.Join(t.TempDir(), "no/state")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a parent: %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package restore

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pgpipes/lib/manifest"
	"pgpipes/test/fixture"
)

func TestDatabaseOf(t *testing.T) {
	for name, want := range map[string]uint32{
		"base/16384/1259": 16384, "base/1/PG_VERSION": 1, "pg_tblspc/16400/PG_15_202209061/16384/1": 16384,
		"base/16384": 0, "base/pgsql_tmp/x": 0, "global/1262": 0, "pg_tblspc/16400/PG_15_202209061/16384": 0,
		"pg_tblspc/16400/PG_15_202209061": 0, "base": 0, "based/16384/1": 0, "pg_wal/000000010000000000000001": 0,
	} {
		if got, ok := databaseOf(name); got != want || ok != (want != 0) {
			t.Errorf("%s: %d %v, want %d", name, got, ok, want)
		}
	}
}

// userFiles are a backup with two users' databases.
func userFiles() []fixture.Member {
	list := fixture.SmallCluster()
	for _, oid := range []string{"16384", "16385"} {
		dir := "base/" + oid + "/"
		list = append(list, fixture.Member{Name: dir}, fixture.Member{Name: dir + "PG_VERSION", Data: "15\n"},
			fixture.Member{Name: dir + "1259", Data: strings.Repeat("r", 100000)}, fixture.Member{Name: dir + "empty"})
	}
	return fixture.WithEnd(list, "")
}

func TestRestoreOnlyDatabase(t *testing.T) {
	list := userFiles()
	s := store(t, 3, list)
	named := store(t, 1, list)
	for name, restore := range map[string]func(dir string) error{
		"parts": func(dir string) error {
			o := s.options(dir)
			o.Databases = []string{"16384"}
			return Run(t.Context(), nil, o)
		},
		"one stream": func(dir string) error {
			o := Options{Dir: dir, Manifest: bytes.NewReader(named.manifest), Databases: []string{"16384", "1"}}
			return Run(t.Context(), bytes.NewReader(fixture.Tar(t, list)), o)
		},
		"delta": func(dir string) error {
			must(t, Run(t.Context(), nil, s.options(dir)))
			o := s.options(dir)
			o.Databases, o.Delta = []string{"16384"}, true
			return Run(t.Context(), nil, o)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "pg")
			must(t, restore(dir))
			mustMatch(t, dir, restored(t, list, Options{}))
			for name, want := range map[string]string{
				"base/16384/1259": strings.Repeat("r", 100000), "base/16385/1259": strings.Repeat("\x00", 100000),
				"base/16385/PG_VERSION": "15\n", "base/1/1259": strings.Repeat("x", 3000),
			} {
				if text, err := os.ReadFile(filepath.Join(dir, name)); string(text) != want {
					t.Errorf("%s: %d bytes, %v", name, len(text), err)
				}
			}
			var hole unix.Stat_t
			must(t, unix.Stat(filepath.Join(dir, "base/16385/1259"), &hole))
			if hole.Blocks != 0 {
				t.Errorf("the hole takes %d blocks", hole.Blocks)
			}
		})
	}
}

func TestSelection(t *testing.T) {
	h := manifest.Header{Extra: [][2]string{{"x-other", "1"}, {"x-database", "16384\tshop"}, {"x-database", "16385\todd\\012name"}}}
	s, err := newSelection(h, []string{"odd\nname"})
	must(t, err)
	if s.excludes("base/16385/1") || !s.excludes("base/16384/1") || s.excludes("base/5/1") || s.excludes("base/16384/PG_VERSION") {
		t.Errorf("chosen are %v", s.chosen)
	}
	if _, err := newSelection(h, []string{"nonesuch"}); !errors.Is(err, ErrTarget) {
		t.Errorf("no such name: error %v", err)
	}
	p := store(t, 1, userFiles())
	o := p.options(t.TempDir())
	o.Databases = []string{"16384", "99999"}
	if err := Run(t.Context(), nil, o); !errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), "no database 99999") {
		t.Errorf("no such OID: error %v", err)
	}
	mustBeEmpty(t, o.Dir)
}

// Of databases that were made again after initdb only the name tells that the server
// cannot do without them.
func TestRestoreOnlyDatabaseKeepsTemplates(t *testing.T) {
	var h manifest.Header
	h.AddDatabase(16384, "app")
	h.AddDatabase(16385, "template1")
	h.AddDatabase(16386, "other")
	s, err := newSelection(h, []string{"app"})
	must(t, err)
	for name, want := range map[string]bool{
		"base/1/1259": false, "base/16384/1259": false, "base/16385/pg_filenode.map": false, "base/16386/1259": true,
	} {
		if got := s.excludes(name); got != want {
			t.Errorf("%s: excluded %v", name, got)
		}
	}
}

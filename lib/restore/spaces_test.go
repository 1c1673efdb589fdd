package restore

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgpipes/lib/manifest"
	"pgpipes/test/fixture"
)

func TestChooseSpaces(t *testing.T) {
	known := []manifest.Tablespace{{OID: 1, Path: "/old/one"}, {OID: 2, Path: "/old/two/"}, {OID: 3, Path: "pg_tblspc/3"}}
	own := map[uint32]string{1: "/own/one", 9: "/own/nine"}
	for name, c := range map[string]struct {
		o    Options
		own  map[uint32]string
		want map[uint32]string
		says string
	}{
		"back":                {want: map[uint32]string{1: "/old/one", 2: "/old/two/"}},
		"by OID":              {o: Options{Tablespaces: map[uint32]string{1: "/a", 2: "/b"}}, want: map[uint32]string{1: "/a", 2: "/b"}},
		"by path":             {o: Options{Moved: map[string]string{"/old/one": "/a", "/old/two": "/b"}}, want: map[uint32]string{1: "/a", 2: "/b"}},
		"all at once":         {o: Options{TablespaceRoot: "/r"}, want: map[uint32]string{1: "/r/1", 2: "/r/2"}},
		"all but one":         {o: Options{TablespaceRoot: "/r", Moved: map[string]string{"/old/two": "/b"}}, want: map[uint32]string{1: "/r/1", 2: "/b"}},
		"own":                 {own: own, want: map[uint32]string{1: "/own/one", 2: "/old/two/"}},
		"own and given":       {own: own, o: Options{Tablespaces: map[uint32]string{2: "/b"}}, want: map[uint32]string{1: "/own/one", 2: "/b"}},
		"one of two":          {o: Options{Tablespaces: map[uint32]string{1: "/a"}}, says: "without a place to go: 2"},
		"unknown":             {o: Options{Tablespaces: map[uint32]string{7: "/a"}}, says: "no tablespace 7"},
		"one in place":        {o: Options{Tablespaces: map[uint32]string{3: "/a"}}, says: "no tablespace 3"},
		"where there is none": {o: Options{Moved: map[string]string{"/no": "/a"}}, says: "that was at /no"},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.Manifest = strings.NewReader("")
			got, err := c.o.chooseSpaces(known, c.own)
			if c.says != "" && (!errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), c.says)) || c.says == "" && err != nil {
				t.Errorf("error %v, want one about %q", err, c.says)
			}
			if !maps.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// Tablespaces in place are directories of the data directory and stay that.
func TestRestoreOfTablespacesInPlace(t *testing.T) {
	list := fixture.WithEnd(fixture.WithTablespaces(fixture.SmallCluster(), "16384", "16385"), "")
	s := store(t, 2, list)
	dir := filepath.Join(t.TempDir(), "pg")
	mustRestore(t, nil, s.options(dir))
	whole := filesIn(t, dir)
	file := filepath.Join(dir, "pg_tblspc/16384/PG_15_202209061/5/16400")
	fixture.MakeFiles(t, dir, "pg_tblspc/16384/PG_15_202209061/5/16400", "pg_tblspc/16384/PG_15_202209061/6/1", "pg_tblspc/16386/PG_15_202209061/6/1")
	mustRestore(t, nil, s.delta(dir))
	mustMatch(t, dir, whole)
	if text, err := os.ReadFile(file); string(text) != "in a tablespace" {
		t.Errorf("%s: %q %v", file, text, err)
	}
}

package test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "pgpipes/"
	root   = ".."
)

// floors are the packages that other packages of the module may import. A
// package imports lower floors only; programs, which nobody imports, are above
// all.
var floors = map[string]int{
	"lib/backup":          4,
	"lib/cli":             4,
	"lib/expire":          4,
	"lib/inspect":         4,
	"lib/prefetch":        4,
	"lib/push":            4,
	"lib/restore":         4,
	"lib/transfer":        4,
	"lib/verify":          4,
	"lib/archive":         3,
	"lib/stream":          3,
	"lib/lock":            2,
	"lib/manifest":        2,
	"lib/pgdata":          2,
	"lib/report":          2,
	"lib/retain":          2,
	"lib/server":          2,
	"lib/store/storetest": 2, // the conformance suite
	"lib/filter":          1,
	"lib/guard":           1,
	"lib/layout":          1,
	"lib/state":           1,
	"lib/store":           1,
	"lib/codec":           0,
	"lib/durable":         0,
	"lib/note":            0,
	"lib/store/sshconn":   0,
	"lib/pagecache":       0,
	"lib/sftpmsg":         0,
	"lib/wait":            0,
	"lib/wal":             0,
}

const programFloor = 5

// outside says which package alone may use a module that is not ours. Those of
// Go's authors are everybody's.
var outside = map[string]string{
	"github.com/jessevdk/go-flags":  "lib/cli",
	"github.com/klauspost/compress": "lib/codec",
	"github.com/pierrec/lz4":        "lib/codec",
	"github.com/ulikunitz/xz":       "lib/codec",
	"github.com/jackc/pgx":          "lib/server",
	"github.com/pkg/sftp":           "lib/store",
	"github.com/skeema/knownhosts":  "lib/store/sshconn",
	"github.com/minio/minio-go":     "lib/store",
	"golang.org/x/":                 "",
}

// process is what makes or ends a process's dealings with the world: lib/cli's
// alone.
var process = []string{"Exit", "Stdin", "Stdout", "Stderr"}

// A pkg is one directory of Go files, its tests left out.
type pkg struct {
	dir   string // relative to the module, such as lib/wal
	files map[string]*ast.File
}

func TestFloors(t *testing.T) {
	for _, p := range packages(t) {
		own, err := floor(p.dir)
		if err != nil {
			t.Errorf("%s: %v", p.dir, err)
			continue
		}
		for _, imported := range p.imports() {
			dir, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			if below, err := floor(dir); err != nil {
				t.Errorf("%s imports %s: %v", p.dir, dir, err)
			} else if below >= own {
				t.Errorf("%s is on floor %d and imports %s on floor %d", p.dir, own, dir, below)
			}
		}
	}
}

func floor(dir string) (int, error) {
	if strings.HasPrefix(dir, "cmd/") {
		return programFloor, nil
	}
	if n, known := floors[dir]; known {
		return n, nil
	}
	return 0, errors.New("has no floor: give it one in the table of this test")
}

// Every floor is of a package that is there.
func TestFloorsAreInhabited(t *testing.T) {
	var there []string
	for _, p := range packages(t) {
		there = append(there, p.dir)
	}
	for dir := range floors {
		if !slices.Contains(there, dir) {
			t.Errorf("%s has a floor and no files", dir)
		}
	}
}

func TestOutsidePackages(t *testing.T) {
	for _, p := range packages(t) {
		for _, imported := range p.imports() {
			first, _, _ := strings.Cut(imported, "/")
			if !strings.Contains(first, ".") { // the standard library, or ours
				continue
			}
			if reason := mayImport(p.dir, imported); reason != "" {
				t.Errorf("%s imports %s: %s", p.dir, imported, reason)
			}
		}
	}
}

func mayImport(dir, imported string) string {
	for prefix, owner := range outside {
		if strings.HasPrefix(imported, prefix) {
			if owner != "" && owner != dir {
				return "only " + owner + " may"
			}
			return ""
		}
	}
	return "not in the table of this test"
}

func TestOnlyCLITouchesTheProcess(t *testing.T) {
	for _, p := range packages(t) {
		if p.dir == "lib/cli" {
			continue
		}
		for _, imported := range p.imports() {
			if imported == "log" || strings.HasPrefix(imported, "log/") {
				t.Errorf("%s imports %s: libraries return errors", p.dir, imported)
			}
		}
		for name, file := range p.files {
			for _, found := range selectors(file, "os") {
				if slices.Contains(process, found) {
					t.Errorf("%s uses os.%s: only lib/cli may", name, found)
				}
			}
		}
	}
}

// Settings come as arguments, so that a library's caller sees them all. Only
// where the user's agent listens ssh itself has from the environment.
func TestLibrariesReadNoEnvironment(t *testing.T) {
	environment := []string{"Getenv", "LookupEnv", "Environ", "Setenv", "Unsetenv", "ExpandEnv", "Args"}
	for _, p := range packages(t) {
		if p.dir == "lib/cli" || p.dir == "lib/store/sshconn" || strings.HasPrefix(p.dir, "cmd/") {
			continue
		}
		for name, file := range p.files {
			for _, found := range selectors(file, "os") {
				if slices.Contains(environment, found) {
					t.Errorf("%s uses os.%s", name, found)
				}
			}
		}
	}
}

func TestPackageComments(t *testing.T) {
	for _, p := range packages(t) {
		var comments []string
		for name, file := range p.files {
			if file.Doc != nil {
				comments = append(comments, file.Doc.Text())
				if begin := "Package " + path.Base(p.dir) + " "; strings.HasPrefix(p.dir, "lib/") && !strings.HasPrefix(file.Doc.Text(), begin) {
					t.Errorf("%s: the package comment does not begin with %q", name, begin)
				}
			}
		}
		if len(comments) != 1 {
			t.Errorf("%s has %d package comments, want 1", p.dir, len(comments))
		}
	}
}

// packages parses all packages below lib and cmd.
func packages(t *testing.T) []pkg {
	t.Helper()
	found := map[string]pkg{}
	for _, top := range []string{"lib", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(file string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && d.Name() == "testdata" {
				return filepath.SkipDir
			}
			if d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
				return nil
			}
			syntax, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
			if err != nil {
				return err
			}
			dir, err := filepath.Rel(root, filepath.Dir(file))
			if found[dir].files == nil {
				found[dir] = pkg{dir, map[string]*ast.File{}}
			}
			found[dir].files[file] = syntax
			return err
		})
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if len(found) < len(floors) {
		t.Fatalf("only %d packages found: %v", len(found), slices.Sorted(maps.Keys(found)))
	}
	return slices.Collect(maps.Values(found))
}

func (p pkg) imports() []string {
	all := map[string]bool{}
	for _, file := range p.files {
		for _, spec := range file.Imports {
			if path, err := strconv.Unquote(spec.Path.Value); err == nil {
				all[path] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// selectors lists X of every name.X in a file.
func selectors(file *ast.File, name string) (found []string) {
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == name {
				found = append(found, s.Sel.Name)
			}
		}
		return true
	})
	return found
}

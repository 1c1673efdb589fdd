package pgtest

import (
	"os"
	"sync"
	"testing"

	"pgpipes/test/script"
)

// toolbox is the built programs of this module, shared by a process's tests.
type toolbox struct {
	mu    sync.Mutex
	dir   string // "" until they are built
	owned bool   // Main is there to remove them
}

var tools toolbox

// Main runs a package's tests and then removes what they shared. A package
// that calls BuildTools has:
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
func Main(m *testing.M) {
	script.HangUp()
	tools.owned = true
	status := m.Run()
	if tools.dir != "" {
		os.RemoveAll(tools.dir)
	}
	os.Exit(status)
}

// BuildTools builds the module's programs, statically linked, into a directory
// that every user may read, and returns it. They are built once a process;
// clusters have them in their PATH afterwards.
func BuildTools(t testing.TB) string {
	t.Helper()
	tools.mu.Lock()
	defer tools.mu.Unlock()
	if !tools.owned {
		t.Fatal("pgtest: BuildTools needs a TestMain that calls pgtest.Main")
	}
	if tools.dir == "" {
		tools.dir = build(t)
	}
	return tools.dir
}

func build(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgpipes-tools")
	if err != nil {
		t.Fatal(err)
	}
	if err := script.Build(dir); err != nil {
		os.RemoveAll(dir)
		t.Fatalf("pgtest: %v", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// path is the directory of the built tools, "" when there are none.
func (b *toolbox) path() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dir
}

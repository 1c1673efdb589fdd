// Package script runs txtar scripts against the real programs, and adds to the
// language of testscript what tests of programs need:
//
//	status N COMMAND…          run it; its exit status must be N (128+n: died of signal n)
//	powerless N COMMAND…       status, without the superuser's rights over files
//	within TIME N COMMAND…     status, and it must take less than TIME
//	segment [K=V]… FILE…       write WAL segments; keys name, size, system, tli, address, magic, length, seed, sparse
//	pgdata [K=V]… DIR          make a data directory; keys size, system
//	backup K=V… REPO LABEL     make a backup of nearly nothing; keys tli, first, last, stop, system, parent
//	stream FILE                write the base stream of a small cluster, which needs segment 2
//	flip FILE                  change one bit in the middle of a file
//	cut FILE BYTES             make a file that long
//	fifo FILE                  make a named pipe
//	remember FILE              note a file's identity: device, inode, size, times, mode
//	unchanged FILE             it must still be the same
//	tree DIR                   put the names of all plain files below DIR on stdout, hidden ones too
//	appears FILE               wait until there is such a file
package script

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

var programs string // the directory of the built programs

// Main builds programs of the module, all of them if none are named, runs the
// tests of a package and ends the process. A package has:
//
//	func TestMain(m *testing.M) { script.Main(m, "repo") }
func Main(m *testing.M, names ...string) { os.Exit(run(m, names)) }

func run(m *testing.M, names []string) int {
	dir, err := os.MkdirTemp("", "pgpipes-programs")
	if err == nil {
		defer os.RemoveAll(dir)
		err = Build(dir, names...)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	programs = dir
	HangUp()
	return m.Run()
}

// HangUp has the programs under test die of SIGHUP when the tests run under nohup:
// a signal that is ignored is inherited so, one that is caught is not.
func HangUp() {
	if signal.Ignored(unix.SIGHUP) {
		signal.Notify(make(chan os.Signal, 1), unix.SIGHUP)
	}
}

// Programs is the directory of the programs that Main has built.
func Programs() string { return programs }

// Build builds programs into a directory as make does, which links in a third of
// the time that a program with symbols takes.
func Build(dir string, names ...string) error {
	if len(names) == 0 {
		names = []string{"..."}
	}
	args := []string{"build", "-trimpath", "-ldflags=-s -w", "-buildvcs=false", "-o", dir + "/"}
	for _, name := range names {
		args = append(args, "pgpipes/cmd/"+name)
	}
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// Run runs the scripts in a directory with the programs in PATH.
func Run(t *testing.T, dir string) {
	testscript.Run(t, Params(dir))
}

// Params are those of Run, for a caller who adds to them.
func Params(dir string) testscript.Params {
	return testscript.Params{
		Dir:                dir,
		RequireUniqueNames: true,
		Cmds:               Commands(),
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", programs+":"+e.Getenv("PATH"))
			e.Setenv("PGPIPES_STATE", filepath.Join(e.WorkDir, ".state")) // not that of the user
			e.Setenv("LC_ALL", "C")
			return os.Mkdir(filepath.Join(e.WorkDir, "home"), 0o700)
		},
	}
}

// Package e2e proves the programs and scripts against real PostgreSQL servers:
// clusters are archived, copied, wrecked, restored, recovered and compared.
//
// A [site] is a cluster together with the repository it archives to. Clusters
// come from templates, made by initdb once for each [shape], and listen on Unix
// sockets in temporary directories only. The programs are built from this tree;
// the scripts lie beside them, as in an installation.
package e2e

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"pgpipes/test/pgtest"
)

var repository = flag.String("repository", "directory", "where repositories are that may be anywhere: directory, sftp or s3")

// TestMain lets more tests run at once than there are cores: half of the time
// they wait, for servers, disks and bounds of time.
func TestMain(m *testing.M) {
	flag.Parse()
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		parallel.Value.Set(strconv.Itoa(2 * runtime.GOMAXPROCS(0)))
	}
	pgtest.Main(m)
}

var scripts sync.Once

// programs is the directory of the built programs and the scripts.
func programs(t *testing.T) string {
	t.Helper()
	dir := pgtest.BuildTools(t)
	scripts.Do(func() {
		list, err := filepath.Glob("../../scripts/*")
		if err != nil || len(list) == 0 {
			t.Fatalf("no scripts: %v", err)
		}
		for _, script := range list {
			info, err := os.Stat(script)
			if err == nil && info.Mode().IsRegular() {
				shell(t, "cp", "-p", script, dir)
			}
		}
	})
	return dir
}

// shell runs a command as the user who runs the test.
func shell(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

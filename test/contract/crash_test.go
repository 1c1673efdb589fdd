package contract

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgpipes/test/script"
)

// A server that recovers takes status 2, Go's own for a crash, for "there is no
// such file". A program made with cli.Main dies of SIGABRT instead.
func TestCrashIsNoAnswer(t *testing.T) {
	crash := filepath.Join(t.TempDir(), "crash")
	if out, err := exec.Command("go", "build", "-o", crash, "./testdata/crash").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, kind := range []string{"panic", "nil-map", "nil-pointer", "concurrent-map", "stack", "range"} {
		for _, traceback := range []string{"", "none"} {
			cmd := exec.Command("sh", "-c", `ulimit -c 0; "$0" "$1"`, crash, kind)
			cmd.Env = []string{"GOTRACEBACK=" + traceback}
			out, err := cmd.CombinedOutput()
			if got := script.Status(err); got != 134 || !strings.Contains(string(out), "goroutine") {
				t.Errorf("%s with GOTRACEBACK=%s: status %d, want 134\n%.300s", kind, traceback, got, out)
			}
		}
	}
	if err := exec.Command(crash, "well").Run(); err != nil {
		t.Errorf("no crash: %v", err)
	}
}

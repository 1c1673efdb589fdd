package e2e

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// forwarding is forward among programs that are scripts. The lock is free, unless
// repo is told of otherwise.
func forwarding(t *testing.T, programs map[string]string, args ...string) (cmd *exec.Cmd, dir string) {
	t.Helper()
	all := map[string]string{"wal-push": "", "expire": ": >$HERE/expired", "repo": `[ "$1" != lock ] || { shift 4; exec "$@"; }`}
	maps.Copy(all, programs)
	return scripted(t, "forward", all, append([]string{"-r", "near", "--to", "far"}, args...)...)
}

// A lock that is busy is no failure; what fails under the lock is one, whatever
// its status, and is told. Where something is lost for good nothing is removed.
func TestForwardUnderTheLock(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		programs map[string]string
		status   int
		says     string
	}{
		"free":         {nil, 0, ""},
		"busy":         {map[string]string{"repo": `[ "$1" != lock ] || { echo held >&2; exit 1; }`}, 0, "nothing is removed this time: held"},
		"expire fails": {map[string]string{"expire": "echo no >&2; exit 1"}, 111, "no\n"},
		"lost":         {map[string]string{"repo": `[ "$1" != lock ] || { : >$HERE/locked; exit 0; }; echo gone >&2; exit 1`}, 1, "gone\nforward: nothing is removed from near "},
		"lost at last": {map[string]string{"repo": `[ "$1" = lock ] || { [ -e $HERE/again ] || { : >$HERE/again; exit 0; }; echo gone >&2; exit 1; }; shift 4; exec "$@"`}, 1, "gone\nforward: nothing is removed from near "},
		"a failure":    {map[string]string{"repo": `[ "$1" = lock ] || { [ -e $HERE/again ] || { : >$HERE/again; exit 0; }; echo away >&2; exit 111; }; shift 4; exec "$@"`}, 111, "away\n"},
		"a mistake":    {map[string]string{"expire": "echo what >&2; exit 100"}, 100, "what\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cmd, dir := forwarding(t, test.programs, "--once", "-v", "--keep-last", "1")
			r := finish(t, cmd)
			if r.status != test.status || !strings.Contains(r.err, test.says) || strings.Count(r.err, "gone") > 1 {
				t.Error(r)
			}
			if expired := exists(filepath.Join(dir, "expired")); expired != (name == "free") {
				t.Errorf("something was removed: %v", expired)
			}
			if name == "lost" && exists(filepath.Join(dir, "locked")) {
				t.Error("the lock was taken for nothing")
			}
		})
	}
}

// Who finds the lock busy is told of forward.
func TestForwardHoldsTheLockByName(t *testing.T) {
	t.Parallel()
	cmd, dir := forwarding(t, map[string]string{"repo": `[ "$1" != lock ] || { shift 4; echo "${1##*/}" >$HERE/holder; exec "$@"; }`}, "--once", "--keep-last", "1")
	r := finish(t, cmd)
	if name, err := os.ReadFile(filepath.Join(dir, "holder")); r.status != 0 || string(name) != "forward\n" {
		t.Errorf("%q, %v; %v", name, err, r)
	}
}

// A failure is tried again, a mistake is not.
func TestForwardEndsAfterAMistake(t *testing.T) {
	t.Parallel()
	cmd, _ := forwarding(t, map[string]string{"repo": `[ -e "$HERE/tried" ] && exit 100; : >"$HERE/tried"; exit 111`}, "--every", "1s", "-v")
	if r := finish(t, cmd); r.status != 100 || strings.Count(r.err, "once more") != 1 {
		t.Error(r)
	}
}

// A signal between two rounds ends the pause, and nothing that ended before it.
func TestForwardKilledInAPause(t *testing.T) {
	t.Parallel()
	cmd, dir := forwarding(t, map[string]string{"sleep": `echo $$ >"$HERE/pid.new" && mv "$HERE/pid.new" "$HERE/pid"; exec tail -f /dev/null`})
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a pause", func() bool { return exists(filepath.Join(dir, "pid")) })
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	pause, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() { // it is there still
			syscall.Kill(pause, syscall.SIGKILL)
		}
	})
	cmd.Process.Signal(syscall.SIGTERM)
	cmd.Wait()
	expect(t, "status", itoa(statusOf(cmd.ProcessState)), "143")
	eventually(t, "the pause is over", func() bool { return syscall.Kill(pause, 0) != nil })
}

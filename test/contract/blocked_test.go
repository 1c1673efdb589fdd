package contract

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"pgpipes/test/script"
)

func itoa(n int) string { return strconv.Itoa(n) }

var signals = []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT}

// blocked starts everything of the script's program that waits for standard
// input, and ends it by a signal: within two seconds it must have died of it,
// in silence, and have left no file.
func blocked(ts *testscript.TestScript, _ bool, _ []string) {
	before := leftovers(ts)
	var all []*victim
	for _, command := range invocations[ts.Getenv("PROGRAM")].blocks {
		for _, signal := range signals {
			all = append(all, start(ts, strings.ReplaceAll(command, "NEW", "new-"+itoa(int(signal))), signal))
		}
	}
	for _, v := range all {
		consumed(ts, v)
		ts.Check(v.cmd.Process.Signal(v.signal))
	}
	for _, v := range all {
		err := v.end()
		if want := 128 + int(v.signal); script.Status(err) != want || v.stderr.Len() > 0 {
			ts.Fatalf("%v, %v: status %d, want %d; stderr %q", v.cmd.Args, v.signal, script.Status(err), want, v.stderr)
		}
	}
	if after := leftovers(ts); after != before {
		ts.Fatalf("files before:\n%s\nand after:\n%s", before, after)
	}
}

// A victim is a command that waits for its standard input.
type victim struct {
	cmd    *exec.Cmd
	stdin  *os.File // our end of the pipe
	stderr *bytes.Buffer
	signal unix.Signal
}

// leftovers are the names of all files in the script's directory. Locks may be
// left, as their files are never removed, and a new data directory, which is
// marked as incomplete.
func leftovers(ts *testscript.TestScript) string {
	names, err := script.Tree(ts.Getenv("WORK"))
	ts.Check(err)
	text := ""
	for _, name := range names {
		if !strings.HasPrefix(name, "r/lock/") && !strings.HasPrefix(name, "new-") {
			text += name + "\n"
		}
	}
	return text
}

// start runs a command with a pipe for its standard input.
func start(ts *testscript.TestScript, command string, signal unix.Signal) *victim {
	r, w, err := os.Pipe()
	ts.Check(err)
	defer r.Close()
	argv := strings.Fields(command)
	v := &victim{exec.Command(filepath.Join(script.Programs(), argv[0]), argv[1:]...), w, &bytes.Buffer{}, signal}
	v.cmd.Dir = ts.MkAbs(".")
	v.cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "TMPDIR=" + ts.Getenv("TMPDIR")}
	v.cmd.Stdin, v.cmd.Stderr = r, v.stderr
	ts.Check(v.cmd.Start())
	ts.Defer(func() { _ = v.cmd.Process.Kill() })
	return v
}

// end waits for a victim's end, which must be near.
func (v *victim) end() error { return v.endWithin(2 * time.Second) }

func (v *victim) endWithin(limit time.Duration) error {
	defer v.stdin.Close()
	ended := make(chan error, 1)
	go func() { ended <- v.cmd.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-time.After(limit):
		_ = v.cmd.Process.Kill()
		return fmt.Errorf("still running: %w", <-ended)
	}
}

// consumed gives a victim a byte that may be the first of anything, and waits
// until it has been taken: from then on the victim waits for more.
func consumed(ts *testscript.TestScript, v *victim) {
	_, err := v.stdin.Write([]byte("("))
	ts.Check(err)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		waiting, err := unix.IoctlGetInt(int(v.stdin.Fd()), unix.TIOCINQ)
		ts.Check(err)
		if waiting == 0 {
			return
		}
	}
	ts.Fatalf("%v does not read its standard input", v.cmd.Args)
}

// HUP and INT stay ignored if they were when the program began (nohup, the
// archiver). The runtime of Go does so for these two.
func TestIgnoredSignalsStayIgnored(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `trap "" HUP INT; exec "$0" -c none`, filepath.Join(script.Programs(), "compress"))
	cmd.Stdin = r
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if _, err := w.WriteString("before "); err != nil {
		t.Fatal(err)
	}
	for {
		waiting, err := unix.IoctlGetInt(int(w.Fd()), unix.TIOCINQ)
		if err != nil {
			t.Fatal(err)
		}
		if waiting == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	for _, signal := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.WriteString("and after"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := cmd.Wait(); err != nil || out.String() != "before and after" {
		t.Errorf("%v; %q", err, out.String())
	}
}

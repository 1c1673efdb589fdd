package contract

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
	"pgpipes/test/script"
	"pgpipes/test/slowfs"
)

// soon is the time in which a program with a bound of 300 ms has to be gone.
const soon = "4s"

// TestTimeouts runs scripts with a file system that hangs when they want it to:
//
//	mount DIR             mirror DIR at $SLOW
//	hang                  from now on, nothing there is answered
//	late N COMMAND…       like status; it must end soon, and have said what took longer than it may
func TestTimeouts(t *testing.T) {
	p := script.Params("testdata/timeouts")
	setup := p.Setup
	p.Setup = func(e *testscript.Env) error {
		e.Values["weather"] = &weather{t: e.T().(testing.TB)}
		return setup(e)
	}
	within := p.Cmds["within"]
	p.Cmds["late"] = func(ts *testscript.TestScript, neg bool, args []string) {
		within(ts, neg, append([]string{soon}, args...))
		if said := ts.ReadFile("stderr"); !strings.Contains(said, " took longer than ") {
			ts.Fatalf("%v: %s", args, said)
		}
	}
	p.Cmds["mount"] = func(ts *testscript.TestScript, _ bool, args []string) {
		w := ts.Value("weather").(*weather)
		w.fs = slowfs.Mount(w.t, ts.MkAbs(args[0]))
		ts.Setenv("SLOW", w.fs.Dir)
	}
	p.Cmds["hang"] = func(ts *testscript.TestScript, _ bool, _ []string) {
		ts.Value("weather").(*weather).fs.Set(slowfs.Weather{Hang: true})
	}
	testscript.Run(t, p)
}

// weather is that of one script.
type weather struct {
	t  testing.TB
	fs *slowfs.FS
}

// withTimeout puts the option behind the program's name.
func withTimeout(command string) string {
	program, rest, _ := strings.Cut(command, " ")
	return program + " --timeout 300ms " + rest
}

// late starts everything of the script's program that waits for standard input
// with a bound. It ends soon, says what it waited for, and leaves no file. What
// a lock is held for has no bound.
func late(ts *testscript.TestScript, _ bool, _ []string) {
	before := leftovers(ts)
	var all, wrapped []*victim
	for _, command := range invocations[ts.Getenv("PROGRAM")].blocks {
		v := start(ts, withTimeout(strings.ReplaceAll(command, "NEW", "new-late")), unix.SIGTERM)
		if strings.HasPrefix(command, "repo lock") {
			wrapped = append(wrapped, v)
		} else {
			all = append(all, v)
		}
	}
	for _, v := range all {
		err := v.endWithin(4 * time.Second)
		want := regexp.MustCompile(`^` + ts.Getenv("PROGRAM") + `: reading standard input took longer than 300ms\n.*: hint: .*\n$`)
		if itoa(script.Status(err)) != ts.Getenv("FAILURE") || !want.MatchString(v.stderr.String()) {
			ts.Fatalf("%v: status %d; stderr %q", v.cmd.Args, script.Status(err), v.stderr)
		}
	}
	for _, v := range wrapped {
		consumed(ts, v)
		ts.Check(v.cmd.Process.Signal(v.signal))
		if err := v.end(); script.Status(err) != 128+int(v.signal) || v.stderr.Len() > 0 {
			ts.Fatalf("%v: %v; stderr %q", v.cmd.Args, err, v.stderr)
		}
	}
	if after := leftovers(ts); after != before {
		ts.Fatalf("files before:\n%s\nand after:\n%s", before, after)
	}
}

// command is a program of ours with pipes that the caller has the other ends of.
func command(t *testing.T, argv ...string) (cmd *exec.Cmd, stdin io.WriteCloser, stderr *bytes.Buffer) {
	t.Helper()
	cmd = exec.Command(filepath.Join(script.Programs(), argv[0]), argv[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + t.TempDir(), "HOME=/"}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr = &bytes.Buffer{}
	cmd.Stderr = stderr
	return cmd, stdin, stderr
}

// slowRepository is a repository on a file system that hangs when it is told
// to, with an object of 8 MiB.
func slowRepository(t *testing.T) *slowfs.FS {
	t.Helper()
	dir := t.TempDir()
	data, back := filepath.Join(dir, "pg"), filepath.Join(dir, "back")
	if err := fixture.DataDirectory(data, fixture.SystemID, wal.MinSegmentSize); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command(filepath.Join(script.Programs(), "repo"), "init", "-r", back, "-D", data).Run(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(back, "large"), make([]byte, 8<<20), 0o640); err != nil {
		t.Fatal(err)
	}
	return slowfs.Mount(t, back)
}

// The repository hangs in the middle of an object.
func TestHangsHalfWay(t *testing.T) {
	fs := slowRepository(t)
	for verb, want := range map[string]string{"get": "reading large", "put": "storing new"} {
		_, key, _ := strings.Cut(want, " ")
		cmd, stdin, stderr := command(t, "repo", verb, "-r", fs.Dir, "--timeout", "1s", key)
		stdout, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		if verb == "get" {
			_, err = io.ReadFull(stdout, make([]byte, 1<<20))
		} else {
			_, err = stdin.Write(make([]byte, 1<<20)) // more than a pipe holds
		}
		if err != nil {
			t.Fatal(err)
		}
		fs.Set(slowfs.Weather{Hang: true})
		start := time.Now()
		go func() {
			_, _ = stdin.Write(make([]byte, 8<<20))
			stdin.Close()
		}()
		_, _ = io.Copy(io.Discard, stdout)
		err = cmd.Wait()
		if took := time.Since(start); script.Status(err) != 111 || took > 5*time.Second ||
			!strings.HasPrefix(stderr.String(), "repo: "+want+" in "+fs.Dir+" took longer than 1s\n") {
			t.Errorf("%s: %v after %s: %s", verb, err, took, stderr)
		}
		fs.Set(slowfs.Weather{})
	}
}

// A signal ends what hangs, too.
func TestHangsAndIsKilled(t *testing.T) {
	fs := slowRepository(t)
	cmd, stdin, stderr := command(t, "repo", "get", "-r", fs.Dir, "large")
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		_, err = io.ReadFull(stdout, make([]byte, 1<<20))
	}
	if err != nil {
		t.Fatal(err)
	}
	fs.Set(slowfs.Weather{Hang: true})
	for buffer := make([]byte, 1<<16); ; { // until no more comes
		if err := stdout.(*os.File).SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := stdout.Read(buffer); err != nil {
			break
		}
	}
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := cmd.Wait(); script.Status(err) != 128+int(unix.SIGTERM) || time.Since(start) > 5*time.Second || stderr.Len() > 0 {
		t.Errorf("%v after %s: %s", err, time.Since(start), stderr)
	}
}

// A reader that does not read holds a program up as one that does not write.
func TestNobodyReads(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd, stdin, stderr := command(t, "compress", "-c", "none", "--timeout", "300ms")
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	go io.Copy(stdin, bytes.NewReader(make([]byte, 8<<20)))
	start := time.Now()
	err = cmd.Wait()
	if took := time.Since(start); script.Status(err) != 111 || took > 4*time.Second ||
		!strings.HasPrefix(stderr.String(), "compress: writing standard output took longer than 300ms\n") {
		t.Errorf("%v after %s: %s", err, took, stderr)
	}
}

// The message itself may be what nobody reads.
func TestNobodyReadsTheMessage(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
	cmd, stdin, _ := command(t, "compress", "--timeout", "300ms")
	defer stdin.Close()
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := cmd.Wait(); script.Status(err) != 111 || time.Since(start) > 4*time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
}

// A server that accepts connections and never answers.
func TestDeafServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	cmd, stdin, stderr := command(t, "base-copy", "-D", t.TempDir(), "--timeout", "300ms",
		"-d", "host=127.0.0.1 user=u sslmode=disable port="+port)
	defer stdin.Close()
	start := time.Now()
	err = cmd.Run()
	if took := time.Since(start); script.Status(err) != 111 || took > 4*time.Second ||
		!strings.HasPrefix(stderr.String(), "base-copy: connecting to the server at 127.0.0.1, port "+port+" took longer than 300ms\n") {
		t.Errorf("%v after %s: %s", err, took, stderr)
	}
}

// A process that was stopped for a while did not wait while it was.
func TestStoppedProcessIsNotLate(t *testing.T) {
	cmd, stdin, stderr := command(t, "compress", "-c", "none", "--timeout", "1s")
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(stdin, "before "); err != nil {
		t.Fatal(err)
	}
	pause := func(signal unix.Signal, d time.Duration) {
		t.Helper()
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		time.Sleep(d)
	}
	pause(unix.SIGSTOP, 1800*time.Millisecond)
	pause(unix.SIGCONT, 300*time.Millisecond)
	if _, err := io.WriteString(stdin, "and after"); err != nil {
		t.Fatal(err)
	}
	stdin.Close()
	if err := cmd.Wait(); err != nil || out.String() != "before and after" {
		t.Errorf("%v; %q; %s", err, out.String(), stderr)
	}
}

package main_test

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
	"pgpipes/test/script"
	"pgpipes/test/sshd"
)

// A vault is a repository behind sftp, and a relay on the way there.
type vault struct {
	t        *testing.T
	dir      string // of the tests' files
	local    string // the repository on the far side
	location string
	calls    atomic.Int64          // connections so far
	admits   func(call int64) bool // nil for all
	greets   func(call int64) bool // whether it is answered at all; nil for all
}

func newVault(t *testing.T) *vault {
	t.Helper()
	host := sshd.Start(t)
	v := &vault{t: t, dir: t.TempDir()}
	v.local = filepath.Join(v.dir, "r")
	if err := fixture.DataDirectory(filepath.Join(v.dir, "pg"), fixture.SystemID, wal.MinSegmentSize); err != nil {
		t.Fatal(err)
	}
	if out, err := v.command("repo", "init", "-r", v.local, "-D", "pg").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go v.relay(listener, "127.0.0.1:"+strconv.Itoa(host.Port))
	host.Configure("Port " + strconv.Itoa(listener.Addr().(*net.TCPAddr).Port))
	v.location = host.Location(v.local)
	return v
}

func (v *vault) relay(listener net.Listener, to string) {
	for {
		near, err := listener.Accept()
		if err != nil {
			return
		}
		call := v.calls.Add(1)
		go func() {
			defer near.Close()
			if v.admits != nil && !v.admits(call) {
				return
			}
			if v.greets != nil && !v.greets(call) {
				io.Copy(io.Discard, near)
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				return
			}
			defer far.Close()
			go io.Copy(far, near)
			io.Copy(near, far)
		}()
	}
}

// command is a program in the directory of the tests.
func (v *vault) command(name string, args ...string) *exec.Cmd {
	path, err := exec.LookPath(filepath.Join(script.Programs(), name))
	if err != nil {
		path = name
	}
	c := exec.Command(path, args...)
	c.Dir = v.dir
	c.Env = append(os.Environ(), "PATH="+script.Programs()+":"+os.Getenv("PATH"), "PGPIPES_STATE="+filepath.Join(v.dir, "state"))
	return c
}

// A holder is a repo lock that runs.
type holder struct {
	*exec.Cmd
	said  bytes.Buffer
	ended chan int // its status
}

// hold runs a shell command under the lock.
func (v *vault) hold(command string) *holder {
	v.t.Helper()
	return v.holdAt(v.location, command)
}

func (v *vault) holdAt(location, command string) *holder {
	v.t.Helper()
	h := &holder{Cmd: v.command("repo", "lock", "-r", location, "backup", "sh", "-c", command), ended: make(chan int, 1)}
	said, err := h.StderrPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	if err := h.Start(); err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { h.Process.Kill() })
	go func() {
		io.Copy(&h.said, said)
		h.ended <- script.Status(h.Wait())
	}()
	return h
}

// expect waits for the end of a holder, and of all who can still say something.
func (v *vault) expect(h *holder, status int) {
	v.t.Helper()
	select {
	case got := <-h.ended:
		if got != status {
			v.t.Errorf("status %d, want %d: %s", got, status, h.said.String())
		}
	case <-time.After(30 * time.Second):
		v.t.Fatal("it goes on")
	}
}

func (v *vault) path(name string) string { return filepath.Join(v.dir, name) }

func (v *vault) exists(name string) bool {
	_, err := os.Stat(v.path(name))
	return err == nil
}

func (v *vault) eventually(what string, happens func() bool) {
	v.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !happens(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			v.t.Fatalf("in vain: %s", what)
		}
	}
}

// number waits for a process number in a file.
func (v *vault) number(name string) (pid int) {
	v.t.Helper()
	v.eventually(name, func() bool {
		text, _ := os.ReadFile(v.path(name))
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return pid > 0
	})
	return pid
}

// keeper waits for the process that keeps the lease of a holder.
func (v *vault) keeper(parent int) (pid int) {
	v.t.Helper()
	v.eventually("keeper", func() bool {
		children, _ := filepath.Glob("/proc/[0-9]*/stat")
		for _, name := range children {
			stat, _ := os.ReadFile(name)
			_, rest, _ := strings.Cut(string(stat), ") ")
			argv, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "cmdline"))
			if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(parent) && bytes.Contains(argv, []byte("\x00keep\x00")) {
				pid, _ = strconv.Atoi(filepath.Base(filepath.Dir(name)))
			}
		}
		return pid > 0
	})
	return pid
}

// gone reports whether a process has ended.
func gone(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(stat), ") Z ")
}

// However the process ends that renews the lease, the command ends.
func TestCommandEndsWithKeeper(t *testing.T) {
	for name, signal := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "ended": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			v := newVault(t)
			h := v.hold("echo $$ > held; exec sleep 300")
			v.number("held")
			syscall.Kill(v.keeper(h.Process.Pid), signal)
			v.expect(h, 128+int(syscall.SIGTERM))
		})
	}
}

// So does what the command has started and not ended itself.
func TestSurvivorsEndWithKeeper(t *testing.T) {
	v := newVault(t)
	h := v.hold("sleep 300 & echo $! > survivor; wait")
	survivor := v.number("survivor")
	stranger := v.command("sleep", "300")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer stranger.Wait()
	defer stranger.Process.Kill()
	keeper := v.keeper(h.Process.Pid)
	h.Process.Kill()
	v.eventually("an orphan", func() bool { return gone(h.Process.Pid) })
	syscall.Kill(keeper, syscall.SIGTERM)
	v.eventually("the end of the survivor", func() bool { return gone(survivor) })
	if gone(stranger.Process.Pid) {
		t.Error("somebody else has ended, too")
	}
}

// The command itself is ended before what it has started: it does not go on, and end
// well, because that was ended.
func TestCommandEndsFirst(t *testing.T) {
	for range 5 {
		v := newVault(t)
		h := v.hold("echo $$ > held; sleep 300; echo > on; exit 0")
		v.number("held")
		syscall.Kill(v.keeper(h.Process.Pid), syscall.SIGTERM)
		v.expect(h, 128+int(syscall.SIGTERM))
		if v.exists("on") {
			t.Error("it has gone on")
		}
	}
}

// A host that does not let the keeper in for a while loses no lease, and the
// command waits for it.
func TestKeeperTriesAgain(t *testing.T) {
	v := newVault(t)
	v.admits = func(call int64) bool {
		refused := call >= 2 && call <= 4
		if refused && v.exists("ran") {
			v.t.Error("the command runs, and nobody keeps the lease")
		}
		return !refused
	}
	v.expect(v.hold("echo > ran"), 0)
	if !v.exists("ran") || v.calls.Load() < 5 {
		t.Errorf("after %d connections", v.calls.Load())
	}
}

// Without a keeper there is no command.
func TestNoCommandWithoutKeeper(t *testing.T) {
	v := newVault(t)
	v.greets = func(call int64) bool { return call < 2 }
	h := v.hold("echo > ran")
	keeper := v.keeper(h.Process.Pid)
	v.eventually("the keeper's connection", func() bool { return v.calls.Load() > 1 })
	syscall.Kill(keeper, syscall.SIGKILL)
	v.expect(h, 111)
	if v.exists("ran") || !strings.Contains(h.said.String(), "nobody keeps the lease") {
		t.Errorf("%s", h.said.String())
	}
	leases, _ := filepath.Glob(v.path("r/lease/backup/*"))
	if text, err := os.ReadFile(leases[len(leases)-1]); err != nil || !bytes.HasSuffix(text, []byte("\nfree\n")) {
		t.Errorf("not given up: %s, %v", text, err)
	}
}

// The arguments of a command are nobody else's business.
func TestLeaseTellsNoArguments(t *testing.T) {
	v := newVault(t)
	h := v.hold("echo $PGPIPES_LEASE > held; exec sleep 300 # secret")
	v.eventually("held", func() bool { text, _ := os.ReadFile(v.path("held")); return len(text) > 0 })
	argv, err := os.ReadFile("/proc/" + strconv.Itoa(v.keeper(h.Process.Pid)) + "/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	busy, err := v.command("repo", "lock", "-r", v.location, "backup", "true").CombinedOutput()
	if script.Status(err) != 1 || !bytes.Contains(busy, []byte(": sh\n")) {
		t.Errorf("%v: %s", err, busy)
	}
	told := append(argv, busy...)
	leases, _ := filepath.Glob(v.path("r/lease/backup/*"))
	for _, name := range append(leases, v.path("held")) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		told = append(told, text...)
	}
	if len(leases) != 1 || bytes.Contains(told, []byte("secret")) {
		t.Errorf("%d leases: %q", len(leases), told)
	}
}

// Who locks in the directory itself and who comes over sftp keep each other out,
// once somebody has come.
func TestLockOfDirectoryAndSFTP(t *testing.T) {
	v := newVault(t)
	lock := func(location string, argv ...string) (status int, said string) {
		argv = append([]string{"lock", "-r", location, "backup"}, argv...)
		out, err := v.command("repo", argv...).CombinedOutput()
		return script.Status(err), string(out)
	}
	h := v.holdAt(v.local, "echo $$ > alone; exec sleep 300")
	v.number("alone")
	if text, err := os.ReadFile(v.path("r/lock/backup")); err != nil || v.exists("r/lease") {
		t.Errorf("%q, %v; a lease that nobody wants", text, err)
	}
	h.Process.Kill()
	v.expect(h, 128+int(syscall.SIGKILL))
	for i, location := range []string{v.location, v.local} {
		other := []string{v.local, v.location}[i]
		held := "held" + strconv.Itoa(i)
		h := v.holdAt(location, "repo held -r "+location+" backup && echo $$ > "+held+"; exec sleep 300")
		v.number(held)
		for _, busy := range []string{other, location} {
			if status, said := lock(busy, "touch", "ran"); status != 1 || !strings.Contains(said, "busy: held by pid "+strconv.Itoa(h.Process.Pid)+" on ") {
				t.Errorf("%s has it, %s: status %d: %s", location, busy, status, said)
			}
		}
		keeper := v.keeper(h.Process.Pid)
		waiting := make(chan string)
		go func() {
			status, said := lock(other, "--wait", "30s", "echo", "mine")
			waiting <- strconv.Itoa(status) + " " + said
		}()
		h.Process.Kill()
		v.expect(h, 128+int(syscall.SIGKILL))
		if got := <-waiting; got != "0 mine\n" {
			t.Errorf("who waited at %s: %s", other, got)
		}
		v.eventually("the end of the keeper", func() bool { return gone(keeper) })
	}
	if v.exists("ran") {
		t.Error("two at once")
	}

	h = v.holdAt(v.local, "echo $$ > last; exec sleep 300")
	v.number("last")
	syscall.Kill(v.keeper(h.Process.Pid), syscall.SIGKILL)
	v.expect(h, 128+int(syscall.SIGTERM))
}

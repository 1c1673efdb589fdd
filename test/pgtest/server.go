package pgtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds every wait for a server: a healthy one needs a second, and two
// minutes if it recovers much on a busy machine.
const patience = 3 * time.Minute

// server is a running postmaster.
type server struct {
	cmd  *exec.Cmd
	done chan struct{} // closed once it has been waited for
}

// Start starts the server and waits until it takes connections (or, with hot
// standby off, until it recovers).
func (c *Cluster) Start() {
	c.t.Helper()
	if err := c.TryStart(); err != nil {
		c.t.Fatalf("pgtest: %v\n%s", err, c.Log())
	}
}

// TryStart is Start for a server that may refuse to run.
func (c *Cluster) TryStart() error {
	if c.server != nil {
		return fmt.Errorf("start: the server is already running")
	}
	log, err := os.OpenFile(c.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := c.Command("postgres", "-D", c.Data, "-k", c.Socket, "-p", strconv.Itoa(c.Port), "-c", "listen_addresses=")
	cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT // so that it takes its children with it
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	s := &server{cmd: cmd, done: make(chan struct{})}
	go func() { cmd.Wait(); close(s.done) }()
	c.server = s
	return c.waitReady()
}

// waitReady waits for the status line that the postmaster keeps in its pid
// file (miscinit.c: AddToDataDirLockFile, line LOCK_FILE_LINE_PM_STATUS).
func (c *Cluster) waitReady() error {
	pid := strconv.Itoa(c.server.cmd.Process.Pid)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		b, _ := os.ReadFile(filepath.Join(c.Data, "postmaster.pid"))
		lines := strings.Split(string(b), "\n")
		if len(lines) > 7 && lines[0] == pid {
			if status := strings.TrimSpace(lines[7]); status == "ready" || status == "standby" {
				return nil
			}
		}
		select {
		case <-c.server.done:
			err := fmt.Errorf("start: the server ended: %s", c.server.cmd.ProcessState)
			c.server = nil
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
	return fmt.Errorf("start: not ready after %v", patience)
}

// Stop stops the server: "smart", "fast" or "immediate", as pg_ctl has it.
func (c *Cluster) Stop(mode string) {
	c.t.Helper()
	signal, ok := map[string]os.Signal{"smart": syscall.SIGTERM, "fast": syscall.SIGINT, "immediate": syscall.SIGQUIT}[mode]
	if !ok || c.server == nil {
		c.t.Fatalf("pgtest: stop %q: no such mode, or the server is not running", mode)
	}
	c.server.cmd.Process.Signal(signal)
	c.Wait()
}

// Wait waits until the server has ended by itself, and says how.
func (c *Cluster) Wait() *os.ProcessState {
	c.t.Helper()
	if c.server == nil {
		c.t.Fatal("pgtest: wait: the server is not running")
	}
	select {
	case <-c.server.done:
	case <-time.After(patience):
		c.t.Fatalf("pgtest: the server did not end within %v\n%s", patience, c.Log())
	}
	state := c.server.cmd.ProcessState
	c.server = nil
	return state
}

// Kill ends the server and everything that it started at once by SIGKILL, as
// a crash would. It does nothing if the server is not running.
func (c *Cluster) Kill() {
	if c.server == nil {
		return
	}
	c.noteShared()
	family := freeze(c.server.cmd.Process.Pid)
	for _, p := range family {
		syscall.Kill(p, syscall.SIGKILL)
	}
	<-c.server.done
	for _, p := range family[1:] {
		waitGone(p)
	}
	c.server = nil
}

// noteShared notes the shared memory that a server leaves when it is killed, and that
// only the next one in the same directory would remove (sysv_shmem.c: PGSharedMemoryCreate).
// The pid file names it (miscinit.c: LOCK_FILE_LINE_SHMEM_KEY).
func (c *Cluster) noteShared() {
	b, _ := os.ReadFile(filepath.Join(c.Data, "postmaster.pid"))
	lines := strings.Split(string(b), "\n")
	if len(lines) < 7 {
		return
	}
	var key, id int
	if _, err := fmt.Sscan(lines[6], &key, &id); err == nil {
		c.shared = append(c.shared, id)
	}
}

// end kills the server and removes what servers that were killed have left.
func (c *Cluster) end() {
	c.Kill()
	for _, id := range c.shared {
		var about unix.SysvShmDesc
		if _, err := unix.SysvShmCtl(id, unix.IPC_STAT, &about); err == nil && about.Nattch == 0 {
			_, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil)
		}
	}
}

// freeze stops a process and all that came of it, so that none can start
// another or be orphaned before it is killed; the process itself comes first.
func freeze(pid int) []int {
	family := []int{pid}
	for i := 0; i < len(family); {
		for ; i < len(family); i++ {
			syscall.Kill(family[i], syscall.SIGSTOP)
		}
		for _, p := range descendants(pid) {
			if !slices.Contains(family, p) {
				family = append(family, p)
			}
		}
	}
	return family
}

// descendants are the processes that came of pid, by /proc. A postmaster's
// children are in sessions of their own, so that no process group has them all.
func descendants(pid int) []int {
	children := make(map[int][]int)
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		if child, parent, ok := parentOf(name); ok {
			children[parent] = append(children[parent], child)
		}
	}
	all := slices.Clone(children[pid])
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// parentOf reads the process id and the parent's of a /proc/N/stat file. The
// command, in parentheses, may contain blanks and parentheses itself.
func parentOf(name string) (pid, parent int, ok bool) {
	b, err := os.ReadFile(name)
	end := strings.LastIndexByte(string(b), ')')
	if err != nil || end < 0 {
		return 0, 0, false
	}
	_, err1 := fmt.Sscanf(string(b), "%d", &pid)
	var state string
	_, err2 := fmt.Sscanf(string(b[end+1:]), "%s %d", &state, &parent)
	return pid, parent, err1 == nil && err2 == nil && state != "Z"
}

// waitGone waits until a killed process has no more files open.
func waitGone(pid int) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if _, _, running := parentOf(fmt.Sprintf("/proc/%d/stat", pid)); !running {
			return
		}
	}
}

// Pid is the postmaster's process id, 0 when it does not run.
func (c *Cluster) Pid() int {
	if c.server == nil {
		return 0
	}
	return c.server.cmd.Process.Pid
}

// Log is what the server has written so far.
func (c *Cluster) Log() string {
	b, _ := os.ReadFile(c.logFile())
	return string(b)
}

func (c *Cluster) logFile() string { return filepath.Join(c.dir, "log") }

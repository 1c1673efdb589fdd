package model

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"pgpipes/test/script"
)

// A call is one run of a program by a server.
type call struct {
	w       *world
	cmd     *exec.Cmd
	trouble trouble
	said    *os.File
	since   map[*mount]int // how many disks the mounts had seen when it began
	start   time.Time
	meddled sync.WaitGroup // with the world, until the call is over
	failed  error          // of what happened to it
	over    chan struct{}
}

// patience bounds a call. No program may take as long.
const patience = time.Minute

// command prepares a program to be run in a data directory.
func (w *world) command(dir string, trouble trouble, argv ...string) *call {
	argv[0] = filepath.Join(programs(), argv[0])
	if trouble.limit > 0 {
		argv = append([]string{"/bin/sh", "-c", `ulimit -f $0; exec "$@"`, fmt.Sprint(trouble.limit)}, argv...)
	}
	c := &call{w: w, cmd: exec.Command(argv[0], argv[1:]...), trouble: trouble, since: map[*mount]int{}, over: make(chan struct{})}
	c.cmd.Dir, c.cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + w.path("tmp")}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	return c
}

// begin starts the program, and what happens to it.
func (c *call) begin() {
	for _, m := range c.w.mounts {
		c.since[m] = len(m.seen)
	}
	said, err := os.CreateTemp(c.w.path("said"), "")
	c.w.must(err)
	c.said, c.cmd.Stdout, c.cmd.Stderr = said, said, said
	c.start = time.Now()
	c.w.must(start(c.cmd))
	c.w.calls++
	if c.trouble.happens != nil && !c.trouble.abandon {
		c.meddled.Go(func() {
			select {
			case <-time.After(c.delay()):
				c.failed = c.trouble.happens(c)
			case <-c.over:
			}
		})
	}
}

// delay is how long after the start the trouble comes.
func (c *call) delay() time.Duration {
	return time.Duration(c.trouble.after * float64(c.w.pace.get()))
}

// end waits for the program and returns its status, 128+n for signal n.
func (c *call) end() int {
	wedged := time.AfterFunc(patience, func() { _ = c.cmd.Process.Signal(syscall.SIGABRT) })
	err := c.cmd.Wait()
	hung := !wedged.Stop()
	ended(c.cmd)
	close(c.over)
	c.meddled.Wait()
	c.w.must(c.failed)
	status := script.Status(err)
	if c.trouble.quiet() && status == 0 {
		c.w.pace.add(time.Since(c.start))
	}
	if hung {
		c.w.fail("%v: still running after %s: %s", c.cmd.Args, patience, c.text())
	}
	return status
}

// text is what the program said.
func (c *call) text() string {
	text, err := os.ReadFile(c.said.Name())
	c.w.must(errors.Join(err, os.Remove(c.said.Name()), c.said.Close()))
	return string(text)
}

// signal sends the program a signal, if it is still there.
func (c *call) signal(s syscall.Signal) error {
	err := c.cmd.Process.Signal(s)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// A pace is how long calls take, lately.
type pace struct {
	sync.Mutex
	average time.Duration
}

func (p *pace) add(took time.Duration) {
	p.Lock()
	defer p.Unlock()
	if p.average == 0 {
		p.average = took
	}
	p.average = (7*p.average + took) / 8
}

func (p *pace) get() time.Duration {
	p.Lock()
	defer p.Unlock()
	return max(p.average, 2*time.Millisecond)
}

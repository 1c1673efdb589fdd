package model

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// An orphan is a push that outlives its server.
type orphan struct {
	*call
	host *host
	name string
}

// abandon stops a push in its midst, for later.
func (w *world) abandon(h *host, c *call, name string) {
	time.Sleep(c.delay())
	w.must(c.trouble.happens(c))
	// A signal takes its time to reach all threads.
	w.must(unix.Waitid(unix.P_PID, c.cmd.Process.Pid, nil, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil))
	w.orphans = append(w.orphans, orphan{c, h, name})
}

// resume lets the orphans go on, to their ends. What they return nobody hears,
// but it has to be true.
func (w *world) resume() {
	for _, o := range w.orphans {
		w.must(o.signal(syscall.SIGCONT))
		status := o.end()
		w.logf("resume %s: %s=%d", o.host.name, short(o.name), status)
		o.host.judge(o.call, o.name, status)
	}
	w.orphans = nil
}

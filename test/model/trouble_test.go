package model

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// A trouble is what happens to one call.
type trouble struct {
	name    string
	after   float64             // when it happens, in times of how long a call takes
	happens func(c *call) error // in the background
	limit   int                 // no file may be longer than so many blocks of 512 bytes; 0 for no limit
	abandon bool                // the server dies, and the program goes on later, alone
	fatal   bool                // the program is killed
	worldly bool                // others notice, too
}

// quiet reports whether nothing happens.
func (t trouble) quiet() bool { return t.name == "" }

func (t trouble) String() string {
	switch {
	case t.quiet():
		return ""
	case t.limit > 0:
		return fmt.Sprintf("(%s %d)", t.name, t.limit)
	}
	return fmt.Sprintf("(%s %.2f)", t.name, t.after)
}

// trouble draws one for a call of a host: mostly none.
func (h *host) trouble() trouble {
	w := h.w
	t := trouble{after: 1.2 * w.chance.Float64()}
	m := pickOne(w, h.mounts)
	outage := pickOne(w, w.outages())
	limit := 1 + w.chance.IntN(600)
	pause := time.Duration(1+w.chance.IntN(20)) * time.Millisecond
	switch n := w.chance.IntN(100); {
	case n < 20:
		t.name, t.fatal, t.happens = "kill", true, func(c *call) error { return c.signal(syscall.SIGKILL) }
	case n < 23:
		t.name, t.happens = "term", func(c *call) error { return c.signal(syscall.SIGTERM) }
	case n < 26:
		t.name, t.limit = "limit", limit
	case n < 29:
		t.name, t.happens = "pause", func(c *call) error { return c.stop(pause) }
	case n < 33:
		t.name, t.abandon, t.happens = "abandon", true, func(c *call) error { return c.signal(syscall.SIGSTOP) }
	case n < 37 && m.gone == "":
		t.name, t.worldly, t.happens = "vanish", true, func(*call) error { return m.vanish(outage) }
	case n < 40 && m.gone != "":
		t.name, t.worldly, t.happens = "appear", true, func(*call) error { return m.present() }
	case n < 42 && m.gone == "":
		next := w.newDisk(h.cluster)
		t.name, t.worldly, t.happens = "exchange", true, func(*call) error { return m.exchange(next) }
	}
	return t
}

// stop stops the program for a time.
func (c *call) stop(pause time.Duration) error {
	err := c.signal(syscall.SIGSTOP)
	time.Sleep(pause)
	return errors.Join(err, c.signal(syscall.SIGCONT))
}

// forGet leaves out what makes no difference to a get.
func (t trouble) forGet() trouble {
	if t.abandon {
		return trouble{}
	}
	return t
}

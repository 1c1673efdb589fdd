package cli

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Progress is the option for a log, or another program, that follows the work.
type Progress struct {
	FD int `long:"progress-fd" value-name:"N" description:"every ten seconds write a line to the open descriptor N: bytes done, in all, share in percent and seconds left, with tabs between them, - for unknown"`
}

// logPeriod is the time between lines for a log.
const logPeriod = 10 * time.Second

// A Meter shows on a terminal how far a work has come: bytes, rate, share done
// and time left, once a second. Elsewhere it is silent, but for the lines of
// --progress-fd.
type Meter struct {
	name  string
	start time.Time
	done  atomic.Int64
	total atomic.Int64
	lines *os.File // nil if nobody wants them
	stop  chan struct{}
	told  chan struct{} // closed after the last line
	ended sync.WaitGroup
}

// Meter starts a meter. Stop must be called.
func (p *Process) Meter(o Progress) (*Meter, error) {
	m := &Meter{name: p.name, start: time.Now(), stop: make(chan struct{})}
	if o.FD < 0 || o.FD == 1 {
		return nil, Usagef("--progress-fd %d: not a descriptor for that", o.FD)
	}
	if o.FD > 0 {
		if _, err := unix.FcntlInt(uintptr(o.FD), unix.F_GETFL, 0); err != nil {
			return nil, Usagef("--progress-fd %d: %v", o.FD, err)
		}
		m.lines = os.NewFile(uintptr(o.FD), "progress")
		m.told = make(chan struct{})
		go func() { defer close(m.told); m.every(logPeriod, m.log); m.log() }()
	}
	if isTerminal(os.Stderr) {
		m.ended.Go(func() { m.every(time.Second, m.show); fmt.Fprint(os.Stderr, "\r\033[K") })
	}
	return m, nil
}

// Progress is Set for a work that reports by a function; nil where nobody looks,
// which saves finding out the total.
func (m *Meter) Progress() func(done, total int64) {
	if m.lines == nil && !isTerminal(os.Stderr) {
		return nil
	}
	return m.Set
}

// Set says how many bytes are done, and how many there are in all, if known.
func (m *Meter) Set(done, total int64) {
	m.done.Store(done)
	m.total.Store(total)
}

// Stop clears the line.
func (m *Meter) Stop() {
	close(m.stop)
	if m.lines != nil {
		select {
		case <-m.told:
		case <-time.After(time.Second): // nobody reads it
		}
	}
	m.ended.Wait()
}

func (m *Meter) every(period time.Duration, do func()) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-tick.C:
			do()
		}
	}
}

func (m *Meter) show() {
	fmt.Fprintf(os.Stderr, "\r\033[K%s: %s", m.name, m.line(time.Since(m.start)))
}

// log writes a line for a program. Whether anybody reads it is no concern of the
// work.
func (m *Meter) log() {
	done, total := m.done.Load(), m.total.Load()
	all, share, seconds := "-", "-", "-"
	if total > 0 && done > 0 {
		all, share = strconv.FormatInt(total, 10), strconv.FormatInt(min(100*done/total, 100), 10)
		seconds = strconv.FormatFloat(m.left(done, total, time.Since(m.start)).Seconds(), 'f', 0, 64)
	}
	_, _ = fmt.Fprintf(m.lines, "%d\t%s\t%s\t%s\n", done, all, share, seconds)
}

// left is how long the rest takes at the rate until now.
func (m *Meter) left(done, total int64, elapsed time.Duration) time.Duration {
	return time.Duration(float64(elapsed) * float64(max(total-done, 0)) / float64(done))
}

func (m *Meter) line(elapsed time.Duration) string {
	done, total := m.done.Load(), m.total.Load()
	rate := float64(done) / elapsed.Seconds()
	line := fmt.Sprintf("%s, %s/s", Bytes(done), Bytes(int64(rate)))
	if total > 0 && done > 0 {
		left := m.left(done, total, elapsed).Round(time.Second)
		line += fmt.Sprintf(", %d %%, %s left", min(100*done/total, 100), left)
	}
	return line
}

// Bytes is a number of bytes for people.
func Bytes(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n), -1
	for value >= 1000 {
		value, unit = value/1000, unit+1
	}
	return fmt.Sprintf("%.1f %cB", value, "kMGTPE"[unit])
}

package cli

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A Meter shows on a terminal how far a work has come: bytes, rate, share done
// and time left, once a second. Elsewhere it is silent.
type Meter struct {
	name  string
	start time.Time
	done  atomic.Int64
	total atomic.Int64
	stop  chan struct{}
	ended sync.WaitGroup
}

// Meter starts a meter. Stop must be called.
func (p *Process) Meter() *Meter {
	m := &Meter{name: p.name, start: time.Now(), stop: make(chan struct{})}
	if isTerminal(os.Stderr) {
		m.ended.Go(m.show)
	}
	return m
}

// Progress is Set for a work that reports by a function; nil where nobody looks,
// which saves finding out the total.
func (m *Meter) Progress() func(done, total int64) {
	if !isTerminal(os.Stderr) {
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
	m.ended.Wait()
}

func (m *Meter) show() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-m.stop:
			fmt.Fprint(os.Stderr, "\r\033[K")
			return
		case <-tick.C:
			fmt.Fprintf(os.Stderr, "\r\033[K%s: %s", m.name, m.line(time.Since(m.start)))
		}
	}
}

func (m *Meter) line(elapsed time.Duration) string {
	done, total := m.done.Load(), m.total.Load()
	rate := float64(done) / elapsed.Seconds()
	line := fmt.Sprintf("%s, %s/s", Bytes(done), Bytes(int64(rate)))
	if total > 0 && done > 0 {
		left := time.Duration(float64(max(total-done, 0)) / rate * float64(time.Second))
		line += fmt.Sprintf(", %d %%, %s left", min(100*done/total, 100), left.Round(time.Second))
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

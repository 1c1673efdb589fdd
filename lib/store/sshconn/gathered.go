package sshconn

import (
	"bufio"
	"net"
	"sync"
	"sync/atomic"
)

// gatherLimit is how many bytes may wait to be sent.
const gatherLimit = 256 << 10

// readAhead is how many bytes are read at once.
const readAhead = 128 << 10

// gathered is a stream that sends at once what has been written while the last was
// on its way, and reads as much as there is. The library writes and reads each packet
// in two steps, of which each would wake the far side.
type gathered struct {
	net.Conn
	reader *bufio.Reader
	heard  atomic.Int64 // bytes that have come

	mu      sync.Mutex
	changed sync.Cond
	waiting []byte
	failed  error // of sending, or net.ErrClosed
	closed  bool
}

func gather(raw net.Conn) *gathered {
	g := &gathered{Conn: raw, reader: bufio.NewReaderSize(raw, readAhead)}
	g.changed.L = &g.mu
	go g.send()
	return g
}

// Read implements io.Reader. What was read ahead is lost when the stream is closed.
func (g *gathered) Read(p []byte) (int, error) {
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if closed {
		return 0, net.ErrClosed
	}
	n, err := g.reader.Read(p)
	g.heard.Add(int64(n))
	return n, err
}

// Write implements io.Writer. An error is that of an earlier one.
func (g *gathered) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.failed == nil && len(g.waiting) > 0 && len(g.waiting)+len(p) > gatherLimit {
		g.changed.Wait()
	}
	if g.failed != nil {
		return 0, g.failed
	}
	g.waiting = append(g.waiting, p...)
	g.changed.Broadcast()
	return len(p), nil
}

// send sends until the stream is closed.
func (g *gathered) send() {
	var sending []byte
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.failed == nil {
		if len(g.waiting) == 0 {
			g.changed.Wait()
			continue
		}
		sending, g.waiting = g.waiting, sending[:0]
		g.changed.Broadcast()
		g.mu.Unlock()
		_, err := g.Conn.Write(sending)
		g.mu.Lock()
		if g.failed == nil {
			g.failed = err
		}
	}
	g.changed.Broadcast()
}

// Close implements io.Closer. What waits is lost.
func (g *gathered) Close() error {
	err := g.Conn.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failed, g.closed = net.ErrClosed, true
	g.changed.Broadcast()
	return err
}

// Package network is a stretch of network between a client and a server on the
// loopback: one that takes its time, is narrow, or comes to nothing.
//
// # What takes how long
//
// A byte arrives [Weather.Delay] after it was sent, however many are on their
// way. Making a connection takes a round trip, as the handshake of TCP does.
// Of TCP's slow beginning and its windows there is nothing here: what is
// measured is what a program waits for, not what a kernel does.
package network

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"pgpipes/lib/wait"
)

// Weather is what happens to connections. Its zero value is as good as no
// network at all.
type Weather struct {
	Delay     time.Duration // one way
	Rate      int           // bytes a second, of all connections in one direction; 0 is any
	Unplugged bool          // what should arrive now is lost, and its connection with it: nobody is told, and nothing comes any more
}

// A Proxy is such a stretch.
type Proxy struct {
	Addr string // where it listens, host:port

	to      string
	listen  net.Listener
	weather atomic.Pointer[Weather]
	up      way // to the server
	down    way
	ctx     context.Context
	end     context.CancelFunc
	all     sync.WaitGroup
}

// Start makes a proxy at an address, port 0 for any, before the server at another.
func Start(at, to string) (*Proxy, error) {
	l, err := net.Listen("tcp", at)
	if err != nil {
		return nil, err
	}
	p := &Proxy{Addr: l.Addr().String(), to: to, listen: l}
	p.Set(Weather{})
	p.ctx, p.end = context.WithCancel(context.Background())
	p.all.Go(p.accept)
	return p, nil
}

// Set changes the weather for what is sent from now on; a cable that is plugged
// in again is for new connections, and for those that nobody has used meanwhile.
func (p *Proxy) Set(w Weather) { p.weather.Store(&w) }

// Close ends all connections, and waits until they have ended.
func (p *Proxy) Close() {
	p.end()
	p.listen.Close()
	p.all.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listen.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			p.all.Go(func() { p.serve(client.(*net.TCPConn)) })
		}
	}
}

// serve carries a connection. The server hears of it when the client has heard
// back, and the client's first words come along.
func (p *Proxy) serve(client *net.TCPConn) {
	defer client.Close()
	defer context.AfterFunc(p.ctx, func() { client.Close() })()
	if !wait.Sleep(p.ctx, 3*p.weather.Load().Delay) {
		return
	}
	if p.weather.Load().Unplugged {
		io.Copy(io.Discard, client)
		return
	}
	conn, err := (&net.Dialer{}).DialContext(p.ctx, "tcp", p.to)
	if err != nil {
		client.SetLinger(0) // the nearest to a refusal that is left
		return
	}
	server := conn.(*net.TCPConn)
	defer server.Close()
	defer context.AfterFunc(p.ctx, func() { server.Close() })()
	var lost atomic.Bool
	var both sync.WaitGroup
	both.Go(func() { p.carry(&p.up, client, server, &lost, time.Now()) })
	both.Go(func() { p.carry(&p.down, server, client, &lost, time.Time{}) })
	both.Wait()
}

// A way is one of the two directions.
type way struct {
	mu   sync.Mutex
	free time.Time // when what has been sent is through
}

// pass says when so many bytes will have passed.
func (w *way) pass(n, rate int) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if w.free.Before(now) {
		w.free = now
	}
	if rate > 0 {
		w.free = w.free.Add(time.Duration(n) * time.Second / time.Duration(rate))
	}
	return w.free
}

// A piece is on its way.
type piece struct {
	bytes []byte
	due   time.Time
}

const (
	pieceSize = 32 << 10
	// underWay is how many pieces may be, so that memory is bounded: 64 MiB,
	// which is 10 Gbit/s at 50 ms.
	underWay = 2048
)

// carry takes bytes from one end to the other until either ends. What was there
// to be sent at the time early has come already.
func (p *Proxy) carry(w *way, from, to *net.TCPConn, lost *atomic.Bool, early time.Time) {
	pieces := make(chan piece, underWay)
	broken := make(chan error, 1)
	go func() {
		defer close(pieces)
		broken <- p.take(w, from, pieces, early)
	}()
	gone := false
	for piece := range pieces {
		wait.Sleep(p.ctx, time.Until(piece.due))
		if p.weather.Load().Unplugged {
			lost.Store(true)
		}
		if gone || lost.Load() {
			continue
		}
		if _, err := to.Write(piece.bytes); err != nil {
			gone = true
			from.SetLinger(0)
			from.Close()
		}
	}
	switch err := <-broken; {
	case lost.Load() || gone:
	case err == nil:
		to.CloseWrite()
	default:
		to.SetLinger(0)
		to.Close()
	}
}

// take gives away what comes from one end until that ends, which is on its way,
// too.
func (p *Proxy) take(w *way, from *net.TCPConn, pieces chan<- piece, early time.Time) error {
	buffer := make([]byte, pieceSize)
	for first := true; ; first = false {
		n, err := from.Read(buffer)
		weather := p.weather.Load()
		if weather.Rate > 0 {
			wait.Sleep(p.ctx, time.Until(w.pass(n, weather.Rate)))
		}
		due := time.Now().Add(weather.Delay)
		if first && !early.IsZero() {
			due = early
		}
		pieces <- piece{append([]byte{}, buffer[:n]...), due}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

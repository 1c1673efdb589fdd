package sshconn

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// What is written while the far side does not read yet reaches it at once, and in
// order; there is a limit to it.
func TestGathered(t *testing.T) {
	raw, far := net.Pipe()
	g := gather(raw)
	defer g.Close()
	// The first piece is on its way until it is read.
	for piece := range []string{"a", "b", "c"} {
		if _, err := g.Write([]byte{byte('a' + piece)}); err != nil {
			t.Fatal(err)
		}
		waitFor(t, g, func() bool { return len(g.waiting) == piece })
	}
	buffer := make([]byte, 100)
	for _, want := range []string{"a", "bc"} {
		if n, err := far.Read(buffer); err != nil || string(buffer[:n]) != want {
			t.Errorf("%q, %v; want %q", buffer[:n], err, want)
		}
	}
	go func() {
		far.Write([]byte("answer"))
		far.Close()
	}()
	if answer, err := io.ReadAll(g); err != nil || string(answer) != "answer" {
		t.Errorf("%q, %v", answer, err)
	}
	var err error
	for err == nil { // only what is sent next can fail
		_, err = g.Write([]byte("more"))
	}
	if !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("after the far side has gone: %v", err)
	}
}

// Whoever waits for room is let go when the stream is closed.
func TestGatheredIsClosed(t *testing.T) {
	raw, far := net.Pipe()
	defer far.Close()
	g := gather(raw)
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := g.Write(make([]byte, gatherLimit/2)); err != nil {
				ended <- err
				return
			}
		}
	}()
	waitFor(t, g, func() bool { return len(g.waiting) == gatherLimit })
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func waitFor(t *testing.T, g *gathered, happens func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		g.mu.Lock()
		happened := happens()
		g.mu.Unlock()
		if happened {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("in vain")
		}
	}
}

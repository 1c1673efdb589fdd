package network_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"pgpipes/test/network"
)

// echo is a server that says everything again.
func echo(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

func before(t *testing.T, server string) *network.Proxy {
	t.Helper()
	p, err := network.Start("127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func dial(t *testing.T, p *network.Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// say has bytes echoed, and says how long that took.
func say(t *testing.T, c net.Conn, n int) time.Duration {
	t.Helper()
	sent, begun := bytes.Repeat([]byte("0123456789"), n/10), time.Now()
	go c.Write(sent)
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%v, or other bytes", err)
	}
	return time.Since(begun)
}

// A round trip takes its time, the first two of them, and so do many bytes at
// once, which do not wait for each other.
func TestDelay(t *testing.T) {
	p := before(t, echo(t))
	const trip = 200 * time.Millisecond
	p.Set(network.Weather{Delay: trip / 2})
	c := dial(t, p)
	for _, test := range []struct {
		what  string
		bytes int
		least time.Duration
	}{{"first words", 10, 3 * trip / 2}, {"a word", 10, trip}, {"10 MB", 10e6, trip}} { // the way begins with the connection, a little before
		if took := say(t, c, test.bytes); took < test.least || took > 20*trip {
			t.Errorf("%s: %s", test.what, took)
		}
	}
	begun := time.Now()
	c.(*net.TCPConn).CloseWrite()
	if _, err := c.Read(make([]byte, 1)); err != io.EOF || time.Since(begun) < trip {
		t.Errorf("the end: %v after %s", err, time.Since(begun))
	}
}

func TestRate(t *testing.T) {
	p := before(t, echo(t))
	p.Set(network.Weather{Rate: 1e6})
	if took := say(t, dial(t, p), 300e3); took < 250*time.Millisecond {
		t.Errorf("300 kB at 1 MB/s: %s", took)
	}
}

// Who has a connection when the cable is unplugged and sends something hears
// nothing any more; who sends nothing does not notice.
func TestUnplugged(t *testing.T) {
	p := before(t, echo(t))
	used, idle := dial(t, p), dial(t, p)
	say(t, used, 10)
	say(t, idle, 10)
	p.Set(network.Weather{Unplugged: true})
	late := dial(t, p)
	for what, c := range map[string]net.Conn{"used": used, "new": late} {
		if _, err := c.Write([]byte("word")); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		silent(t, what, c)
	}
	p.Set(network.Weather{})
	if _, err := used.Write([]byte("word")); err != nil {
		t.Error(err)
	}
	silent(t, "used, and plugged in again", used)
	say(t, idle, 10)
	say(t, dial(t, p), 10)
}

func silent(t *testing.T, what string, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: %d bytes, %v", what, n, err)
	}
}

// What ends at one end does at the other, and nothing is left when the proxy is
// closed.
func TestEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := before(t, l.Addr().String())
	accepted := func() (client, server net.Conn) {
		client = dial(t, p)
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		return client, server
	}
	first, server := accepted()
	second, _ := accepted()
	server.Close()
	if _, err := first.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the server has closed: %v", err)
	}
	p.Close()
	if _, err := second.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the proxy has: %v", err)
	}
	l.Close()
	gone := before(t, l.Addr().String())
	c, err := net.Dial("tcp", gone.Addr)
	if err == nil { // and not reset before that was told
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		_, err = c.Read(make([]byte, 1))
	}
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("there is no server: %v", err)
	}
}

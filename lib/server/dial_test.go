package server

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pgpipes/lib/wait"
)

// deaf is a server that accepts connections and says nothing.
func deaf(t *testing.T) (port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestConnectionsNoticeALostServer(t *testing.T) {
	conn, err := dial(time.Second)(t.Context(), "tcp", "127.0.0.1:"+deaf(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[int]int{unix.TCP_USER_TIMEOUT: 60_000, unix.TCP_KEEPIDLE: 15, unix.TCP_KEEPINTVL: 15, unix.TCP_KEEPCNT: 4} {
		err := raw.Control(func(fd uintptr) {
			if got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, name); err != nil || got != want {
				t.Errorf("option %d: %d, %v; want %d", name, got, err, want)
			}
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// A server that does not answer is what a watch names, and the end of the
// context ends the attempt.
func TestConnectIsWatched(t *testing.T) {
	clearEnv(t)
	port := deaf(t)
	var w wait.Watch
	ctx, cancel := context.WithCancel(wait.WithWatch(t.Context(), &w))
	failed := make(chan error, 1)
	go func() {
		_, err := Connect(ctx, "host=127.0.0.1 user=u sslmode=disable port="+port)
		failed <- err
	}()
	what := ""
	for deadline := time.Now().Add(10 * time.Second); what == "" && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		what, _ = w.Longest(wait.Request)
	}
	if what != "connecting to the server at 127.0.0.1, port "+port {
		t.Errorf("waits for %q", what)
	}
	cancel()
	if err := <-failed; err == nil || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
	if what, _ := w.Longest(wait.Request); what != "" {
		t.Errorf("still waits for %q", what)
	}
}

package sshconn_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgpipes/lib/store/sshconn"
	"pgpipes/test/network"
	"pgpipes/test/sshd"
)

// reach connects to a host of a configuration.
func reach(t *testing.T, name, config string) (*sshconn.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	h, err := sshconn.Resolve(ctx, name, "", "", config)
	if err != nil {
		t.Fatal(err)
	}
	return sshconn.Dial(ctx, h, config, func(string) {})
}

// Hosts that are reached through each other are not reached.
func TestJumpsInCircles(t *testing.T) {
	config := t.TempDir() + "/config"
	for _, jumps := range [][2]string{{"b", "b"}, {"c", "b"}, {"c", "d"}, {"d,b", "d"}} {
		text := "Host b\nProxyJump " + jumps[0] + "\nHost c\nProxyJump " + jumps[1] + "\nHost d\nProxyJump b\nHost *\nHostName 127.0.0.1\nPort 1\n"
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if _, err := reach(t, "b", config); err == nil || !strings.Contains(err.Error(), "itself") {
			t.Errorf("%q: %v", jumps, err)
		}
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("%q: it took %s", jumps, took)
		}
	}
}

// When the last host goes, so does the connection to the one before it.
func TestJumpEndsWithItsConnection(t *testing.T) {
	last, hop := sshd.Start(t), sshd.Start(t)
	known, err := os.ReadFile(hop.Path("known"))
	if err != nil {
		t.Fatal(err)
	}
	last.Write("hop_known", strings.Replace(string(known), sshd.Name, "hop", 1))
	last.Configure("ProxyJump hop")
	own, err := os.ReadFile(last.Config)
	if err != nil {
		t.Fatal(err)
	}
	last.Write("config", string(own)+strings.Join([]string{
		"Host hop", "HostName 127.0.0.1", "Port " + strconv.Itoa(hop.Port), "HostKeyAlias hop", "IdentityFile " + hop.Path("user"),
		"IdentitiesOnly yes", "IdentityAgent none", "UserKnownHostsFile " + last.Path("hop_known"), "GlobalKnownHostsFile /dev/null",
	}, "\n")+"\n")
	c, err := reach(t, sshd.Name, last.Config)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if sessions := hop.Signal(syscall.Signal(0)); len(sessions) < 2 {
		t.Fatal("not through the hop")
	}
	last.EndSessions()
	<-c.Ended()
	for deadline := time.Now().Add(20 * time.Second); len(hop.Signal(syscall.Signal(0))) > 1; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the connection to the hop is still there")
		}
	}
}

// A host on the way that falls silent while the last one is greeted holds up
// nobody who has given up.
func TestJumpThroughSilence(t *testing.T) {
	hop := sshd.Start(t)
	way, err := network.Start("127.0.0.1:0", "127.0.0.1:"+strconv.Itoa(hop.Port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(way.Close)
	last, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer last.Close()
	_, lastPort, _ := net.SplitHostPort(last.Addr().String())
	_, hopPort, _ := net.SplitHostPort(way.Addr)
	hop.Configure("Port " + hopPort)
	own, err := os.ReadFile(hop.Config)
	if err != nil {
		t.Fatal(err)
	}
	hop.Write("config", string(own)+"Host last\nHostName 127.0.0.1\nPort "+lastPort+"\nProxyJump "+sshd.Name+
		"\nUserKnownHostsFile "+hop.Path("known")+"\n")
	ctx, cancel := context.WithCancelCause(context.Background())
	late := errors.New("too late")
	go func() {
		greeted, err := last.Accept()
		if err != nil {
			return
		}
		defer greeted.Close()
		greeted.Read(make([]byte, 1))
		way.Set(network.Weather{Unplugged: true})
		cancel(late)
		last.Accept() // until the test ends
	}()
	h, err := sshconn.Resolve(ctx, "last", "", "", hop.Config)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if _, err := sshconn.Dial(ctx, h, hop.Config, func(string) {}); !errors.Is(err, late) || time.Since(begun) > 10*time.Second {
		t.Errorf("%v after %s", err, time.Since(begun))
	}
}

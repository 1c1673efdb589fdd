package store_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgpipes/lib/store"
	"pgpipes/test/network"
	"pgpipes/test/slowfs"
	"pgpipes/test/sshd"
)

// troubled is a server to which everything happens that may, and the way there.
type troubled struct {
	t      *testing.T
	random *rand.Rand
	host   *sshd.Server
	way    *network.Proxy
	root   string // of the store
	back   string // the same, without what happens to the disk
	disk   *slowfs.FS
}

// startTroubled starts one. Users who may not mount have a disk to which nothing
// happens.
func startTroubled(t *testing.T, random *rand.Rand) *troubled {
	s := &troubled{t: t, random: random, back: t.TempDir()}
	s.root = s.back
	if slowfs.Able() {
		s.disk = slowfs.Mount(t, s.back)
		s.root = s.disk.Dir
	} else {
		t.Log("the disk is never full: it would take root, or fusermount3 and /dev/fuse")
	}
	s.host = sshd.Start(t, "ClientAliveInterval 1", "ClientAliveCountMax 3")
	server := net.JoinHostPort("127.0.0.1", strconv.Itoa(s.host.Port))
	way, err := network.Start("127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(way.Close)
	s.way = way
	s.configure(random.IntN(3))
	return s
}

// configure has connections go by the troubled way: by themselves, through a
// host, or through a program.
func (s *troubled) configure(kind int) {
	own, err := user.Current()
	if err != nil {
		s.t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(s.way.Addr)
	hop := strings.Join([]string{
		"Host hop", "HostName 127.0.0.1", "Port " + port, "User " + own.Username, "HostKeyAlias " + sshd.Name, "IdentityFile " + s.host.Path("user"),
		"IdentitiesOnly yes", "IdentityAgent none", "UserKnownHostsFile " + s.host.Path("known"), "GlobalKnownHostsFile /dev/null",
	}, "\n") + "\n"
	s.host.Write("hop", hop)
	setting := []string{
		"Port " + port, "ProxyJump hop", fmt.Sprintf("ProxyCommand ssh -F %s -W %%h:%%p hop", s.host.Path("hop")),
	}[kind]
	s.t.Log(setting)
	s.host.Configure(setting, "ServerAliveInterval 1", "ServerAliveCountMax 3")
	usual, err := os.ReadFile(s.host.Config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.host.Write("config", string(usual)+hop)
}

func (s *troubled) open() store.Store {
	s.t.Helper()
	far, err := store.Open(s.host.Location(s.root))
	if err != nil {
		s.t.Fatal(err)
	}
	return far
}

// sweep removes what is left, when nobody stores any more.
func (s *troubled) sweep() {
	s.t.Helper()
	far := s.open()
	defer far.(io.Closer).Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := operations["Sweep"](ctx, far); err != nil {
		s.t.Error(err)
	}
}

// happen has troubles happen until all is done, each as often as the others, and
// lets all be well in between.
func (s *troubled) happen(done <-chan struct{}) {
	troubles := []func(time.Duration){s.down, s.cut, s.stop, s.throttled, s.unplugged}
	if s.disk != nil {
		troubles = append(troubles, s.full)
	}
	for {
		for _, i := range s.random.Perm(len(troubles)) {
			if over(done, s.upTo(time.Second)) {
				return
			}
			troubles[i](s.upTo(500 * time.Millisecond))
		}
	}
}

func (s *troubled) upTo(most time.Duration) time.Duration {
	return time.Duration(s.random.Int64N(int64(most)))
}

func over(done <-chan struct{}, wait time.Duration) bool {
	select {
	case <-done:
		return true
	case <-time.After(wait):
		return false
	}
}

func (s *troubled) down(d time.Duration) {
	s.host.Kill()
	time.Sleep(d)
	s.host.Run()
}

func (s *troubled) cut(time.Duration) { s.host.EndSessions() }

// stop is for shorter than a transfer's patience, or for longer.
func (s *troubled) stop(d time.Duration) {
	s.host.Signal(syscall.SIGSTOP)
	time.Sleep(4 * d)
	s.host.Signal(syscall.SIGCONT)
}

// throttled is slow enough for large objects to take longer than anybody's
// patience, or just fast enough, and far away.
func (s *troubled) throttled(d time.Duration) {
	s.weather(4*d, network.Weather{Rate: 20e3 << s.random.IntN(8), Delay: s.upTo(50 * time.Millisecond)})
}

func (s *troubled) unplugged(d time.Duration) { s.weather(d, network.Weather{Unplugged: true}) }

func (s *troubled) weather(d time.Duration, w network.Weather) {
	s.way.Set(w)
	time.Sleep(d)
	s.way.Set(network.Weather{})
}

func (s *troubled) full(d time.Duration) {
	s.disk.Set(slowfs.Weather{Full: true})
	time.Sleep(d)
	s.disk.Set(slowfs.Weather{})
}

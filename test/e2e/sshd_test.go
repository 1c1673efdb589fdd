package e2e

import (
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"

	"pgpipes/test/sshd"
)

// A farHost is an sshd that runs as the user whom a site's server has, and an ssh
// configuration that knows it as README.md says.
type farHost struct {
	*site
	host *sshd.Server
}

// newFarHost makes a far host where a site's repository is, and starts it.
func newFarHost(s *site) *farHost {
	s.t.Helper()
	s.must("mkdir", s.path("bin"))
	s.must("sh", "-c", `ln -s "$1"/* "$2"`, "sh", programs(s.t), s.path("bin"))
	account := sshd.Account{User: strings.TrimSpace(s.must("id", "-un")), Dir: s.dir, Command: s.Command}
	h := &farHost{s, sshd.StartAs(s.t, account, "backup", "PermitUserRC no", "SetEnv PGPIPES_STATE="+s.path("state"))}
	h.route(h.host.Port)
	return h
}

// move has a part of the test go on with the host.
func (h *farHost) move(t *testing.T) {
	h.site = h.in(t)
	h.host.In(t)
}

// route has ssh connect to a port, with settings that precede README's.
func (h *farHost) route(port int, settings ...string) {
	h.t.Helper()
	config, _ := overSSH(h.t)
	h.host.Configure(append([]string{"Port " + itoa(port), "StrictHostKeyChecking yes"}, settings...)...)
	b, err := os.ReadFile(h.host.Config)
	if err != nil {
		h.t.Fatal(err)
	}
	h.host.Write("config", string(b)+config)
}

// overSSH are the settings in README.md: of ssh, and of the server.
func overSSH(t *testing.T) (config string, commands []string) {
	t.Helper()
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := func(name string) string {
		found := regexp.MustCompile("(?s)<!-- " + name + " -->\\s*```\n(.*?)```").FindStringSubmatch(string(b))
		if found == nil {
			t.Fatalf("README.md has no block after <!-- %s -->", name)
		}
		return found[1]
	}
	commands = strings.Split(strings.TrimSpace(block("ssh-commands")), "\n")
	if len(commands) != 2 || len(commands[0]) > 900 || len(commands[1]) > 900 {
		t.Fatalf("not two settings of a length that the server takes: %q", commands)
	}
	return block("ssh-config"), commands
}

// settings are README's lines of postgresql.conf with the places of the test.
func (h *farHost) settings() []string {
	h.t.Helper()
	_, commands := overSSH(h.t)
	for i := range commands {
		for _, place := range [][2]string{
			{"/usr/local/bin/", h.path("bin") + "/"}, {"/backup/pg/main", h.repo}, {" ssh ", " ssh -F " + h.path("config") + " "},
		} {
			if !strings.Contains(commands[i], place[0]) {
				h.t.Fatalf("%q is not in %s", place[0], commands[i])
			}
			commands[i] = strings.ReplaceAll(commands[i], place[0], place[1])
		}
	}
	return commands
}

// idle waits until there is no session.
func (h *farHost) idle() {
	h.t.Helper()
	eventually(h.t, "the end of all sessions", func() bool { return h.host.Sessions() == 0 })
}

// A relay stands between ssh and sshd, and does harm.
type relay struct {
	net.Listener
	to   int
	up   int64         // bytes to let through to sshd, from each connection
	down int64         // bytes to let through to ssh
	stay bool          // then keep the connection until one side goes, and be silent
	full chan struct{} // gets a value whenever that much has passed
}

const unlimited = 1 << 50

// newRelay starts a relay to a far host.
func newRelay(h *farHost, r relay) *relay {
	h.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	r.Listener, r.to, r.full = l, h.host.Port, make(chan struct{}, 1000)
	h.t.Cleanup(func() { l.Close() })
	go r.serve()
	return &r
}

func (r *relay) port() int { return r.Addr().(*net.TCPAddr).Port }

func (r *relay) serve() {
	for {
		near, err := r.Accept()
		if err != nil {
			return
		}
		go r.connect(near)
	}
}

func (r *relay) connect(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", "127.0.0.1:"+itoa(r.to))
	if err != nil {
		return
	}
	defer far.Close()
	over := make(chan bool, 2)
	pass := func(to, from net.Conn, limit int64) {
		if _, err := io.CopyN(to, from, limit); err == nil {
			r.full <- struct{}{}
			if r.stay {
				io.Copy(io.Discard, from)
			}
		}
		over <- true
	}
	go pass(far, near, r.up)
	go pass(near, far, r.down)
	<-over
}

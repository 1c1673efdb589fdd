package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A farHost is an sshd on the loopback that lets in the user it runs as, by a
// key of its own, and an ssh configuration that knows it as README.md says.
type farHost struct {
	*site
	port   int
	listen *exec.Cmd // nil while it does not run
}

// newFarHost makes a far host where a site's repository is, and starts it.
func newFarHost(s *site) *farHost {
	s.t.Helper()
	h := &farHost{site: s, port: freePort(s.t)}
	s.must("mkdir", h.path("bin"))
	s.must("sh", "-c", `ln -s "$1"/* "$2"`, "sh", programs(s.t), h.path("bin"))
	for _, key := range []string{"host", "user", "stranger"} {
		s.must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", s.path(key))
	}
	h.write("sshd_config", fmt.Sprintf(`ListenAddress 127.0.0.1
Port %d
HostKey %s
PidFile none
AuthorizedKeysFile %s
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitUserRC no
MaxStartups 100
Subsystem sftp internal-sftp
SetEnv PGPIPES_STATE=%s
`, h.port, s.path("host"), s.path("authorized"), s.path("state")))
	h.know("host")
	h.admit("")
	h.route(h.port)
	s.t.Cleanup(h.stop)
	h.start()
	return h
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (h *farHost) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(h.path(name), []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

func (h *farHost) publicKey(name string) string {
	h.t.Helper()
	b, err := os.ReadFile(h.path(name + ".pub"))
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// admit lets the user in, with options as authorized_keys has them.
func (h *farHost) admit(options string) {
	h.t.Helper()
	h.write("authorized", strings.TrimSpace(options+" "+h.publicKey("user"))+"\n")
}

// know makes a key what ssh takes for the host's.
func (h *farHost) know(key string) {
	h.t.Helper()
	h.write("known", "backup "+h.publicKey(key)+"\n")
}

// route has ssh connect to a port, with settings that precede README's.
func (h *farHost) route(port int, settings ...string) {
	h.t.Helper()
	config, _ := overSSH(h.t)
	own := []string{
		"Host backup", "HostName 127.0.0.1", "Port " + itoa(port), "User " + h.must("id", "-un"), "HostKeyAlias backup",
		"IdentityFile " + h.path("user"), "IdentitiesOnly yes", "StrictHostKeyChecking yes",
		"UserKnownHostsFile " + h.path("known"), "GlobalKnownHostsFile /dev/null",
	}
	h.write("config", strings.Join(append(own, settings...), "\n")+"\n"+config)
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

// start starts sshd and waits until it answers.
func (h *farHost) start() {
	h.t.Helper()
	sshd := "/usr/sbin/sshd"
	if path, err := exec.LookPath("sshd"); err == nil {
		sshd = path
	}
	h.listen = h.Command(sshd, "-D", "-f", h.path("sshd_config"), "-E", h.path("sshd.log"))
	if err := h.listen.Start(); err != nil {
		h.t.Fatal(err)
	}
	eventually(h.t, "an answer of sshd", func() bool {
		c, err := net.DialTimeout("tcp", "127.0.0.1:"+itoa(h.port), time.Second)
		if err != nil {
			return false
		}
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(time.Second))
		line, _ := bufio.NewReader(c).ReadString('\n')
		return strings.HasPrefix(line, "SSH-2.0")
	})
}

// stop kills sshd with all its sessions and what they run. It does nothing if
// sshd does not run.
func (h *farHost) stop() {
	if h.listen == nil {
		return
	}
	family := []int{h.listen.Process.Pid}
	for i := 0; i < len(family); i++ {
		syscall.Kill(family[i], syscall.SIGSTOP) // nothing new of it
		family = append(family, children(family[i])...)
	}
	for _, pid := range family {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	h.listen.Wait()
	h.listen = nil
}

// idle waits until there is no session.
func (h *farHost) idle() {
	h.t.Helper()
	eventually(h.t, "the end of all sessions", func() bool { return len(children(h.listen.Process.Pid)) == 0 })
}

// children are the processes that a process has started and that still run.
func children(pid int) (found []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		b, _ := os.ReadFile(name)
		_, rest, _ := strings.Cut(string(b), ") ") // what precedes is the name
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == itoa(pid) {
			child, _ := strconv.Atoi(strings.Split(name, "/")[2])
			found = append(found, child)
		}
	}
	return found
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
	r.Listener, r.to, r.full = l, h.port, make(chan struct{}, 1000)
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

// Package sshd runs OpenSSH's server on the loopback for tests: one that lets
// in whoever runs the test, by a key of its own, and an ssh configuration that
// knows it under the name vault.
package sshd

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Name is what the configuration calls the server.
const Name = "vault"

// A Server is an sshd and what belongs to it.
type Server struct {
	Dir    string // of keys and configurations
	Config string // of ssh
	Port   int
	t      testing.TB
	listen *exec.Cmd // nil while it does not run
}

// Start makes a server, with lines of sshd_config before its own, and starts it.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s := &Server{t: t, Dir: t.TempDir(), Port: freePort(t)}
	s.Config = s.Path("config")
	for _, key := range []string{"host", "user"} {
		run(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", s.Path(key))
	}
	s.Write("authorized", s.read("user.pub"))
	s.Write("known", Name+" "+s.read("host.pub"))
	s.Write("sshd_config", strings.Join(settings, "\n")+fmt.Sprintf(`
ListenAddress 127.0.0.1
Port %d
HostKey %s
PidFile none
AuthorizedKeysFile %s
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
Subsystem sftp internal-sftp
`, s.Port, s.Path("host"), s.Path("authorized")))
	s.Configure()
	t.Cleanup(s.Kill)
	s.Run()
	return s
}

// Path is that of a file that belongs to the server.
func (s *Server) Path(name string) string { return filepath.Join(s.Dir, name) }

// Write writes such a file.
func (s *Server) Write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.Path(name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) read(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(s.Path(name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// Configure writes the configuration of ssh, with settings that precede the
// usual ones.
func (s *Server) Configure(settings ...string) {
	s.t.Helper()
	own, err := user.Current()
	if err != nil {
		s.t.Fatal(err)
	}
	s.Write("config", "Host "+Name+"\n"+strings.Join(append(settings,
		"HostName 127.0.0.1", "Port "+strconv.Itoa(s.Port), "User "+own.Username, "HostKeyAlias "+Name,
		"IdentityFile "+s.Path("user"), "IdentitiesOnly yes", "IdentityAgent none",
		"UserKnownHostsFile "+s.Path("known"), "GlobalKnownHostsFile /dev/null"), "\n")+"\n")
}

// Location is an sftp location at the server.
func (s *Server) Location(path string) string { return "sftp://" + Name + path + "?config=" + s.Config }

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func run(t testing.TB, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
}

// Run starts the server and waits until it answers.
func (s *Server) Run() {
	s.t.Helper()
	program, err := exec.LookPath("sshd")
	if err != nil {
		program = "/usr/sbin/sshd"
	}
	if os.Geteuid() == 0 { // sshd wants it to be there
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	s.listen = exec.Command(program, "-D", "-f", s.Path("sshd_config"), "-E", s.Path("log"))
	if err := s.listen.Start(); err != nil {
		s.t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); !s.answers(); {
		if time.Now().After(deadline) {
			s.t.Fatalf("sshd does not answer: %s", s.read("log"))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (s *Server) answers() bool {
	c, err := net.DialTimeout("tcp", "127.0.0.1:"+strconv.Itoa(s.Port), time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(time.Second))
	line, _ := bufio.NewReader(c).ReadString('\n')
	return strings.HasPrefix(line, "SSH-2.0")
}

// Kill ends the server with all its sessions, as a power cut does. It does
// nothing if none runs.
func (s *Server) Kill() {
	if s.listen == nil {
		return
	}
	family := s.Signal(syscall.SIGSTOP)
	for _, pid := range family {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	s.listen.Wait()
	s.listen = nil
}

// Signal sends a signal to the server and its sessions, and says which they are.
// Those to be stopped are while they are looked for, so that they start nothing
// new; others not before all are known, because they might end and leave a child.
func (s *Server) Signal(number syscall.Signal) []int {
	family := []int{s.listen.Process.Pid}
	for i := 0; i < len(family); i++ {
		if number == syscall.SIGSTOP {
			syscall.Kill(family[i], number)
		}
		family = append(family, children(family[i])...)
	}
	if number != syscall.SIGSTOP {
		for _, pid := range family {
			syscall.Kill(pid, number)
		}
	}
	return family
}

// EndSessions kills the sessions, and has the server go on.
func (s *Server) EndSessions() {
	for _, pid := range s.Signal(0)[1:] {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// children are the processes that a process has started and that still run.
func children(pid int) (found []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		b, _ := os.ReadFile(name)
		_, rest, _ := strings.Cut(string(b), ") ") // what precedes is the name
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			child, _ := strconv.Atoi(strings.Split(name, "/")[2])
			found = append(found, child)
		}
	}
	return found
}

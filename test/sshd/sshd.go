// Package sshd runs OpenSSH's server on the loopback for tests: one that lets
// in whoever runs it, by a key of its own, and an ssh configuration that knows it
// under a name.
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

// Name is what the configuration calls a server, unless it is told otherwise.
const Name = "vault"

// An Account is who runs a server, and is let in.
type Account struct {
	User    string                                         // its name
	Dir     string                                         // where it may write
	Command func(program string, args ...string) *exec.Cmd // run as it
}

// own is the account of whoever runs the test.
func own(t testing.TB) Account {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return Account{u.Username, t.TempDir(), exec.Command}
}

// A Server is an sshd and what belongs to it.
type Server struct {
	Account
	Name   string // what the configuration calls it
	Config string // of ssh
	Port   int
	t      testing.TB
	listen *exec.Cmd // nil while it does not run
}

// Start makes a server, with lines of sshd_config before its own, and starts it.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	return StartAs(t, own(t), Name, settings...)
}

// StartAs does so for an account and a name.
func StartAs(t testing.TB, account Account, name string, settings ...string) *Server {
	t.Helper()
	s := &Server{t: t, Account: account, Name: name, Port: freePort(t)}
	s.Config = s.Path("config")
	s.Admit("user", "")
	s.Know("host")
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

// In has another test be told of what goes wrong.
func (s *Server) In(t testing.TB) { s.t = t }

// Admit lets in who has a key, with options as authorized_keys has them.
func (s *Server) Admit(key, options string) {
	s.t.Helper()
	s.Write("authorized", strings.TrimSpace(options+" "+s.PublicKey(key))+"\n")
}

// Know makes a key what ssh takes for the server's.
func (s *Server) Know(key string) {
	s.t.Helper()
	s.Write("known", s.Name+" "+s.PublicKey(key)+"\n")
}

// PublicKey is that of a pair in files of the server's, which is made when it is
// first asked for.
func (s *Server) PublicKey(name string) string {
	s.t.Helper()
	if _, err := os.Stat(s.Path(name)); err != nil {
		if out, err := s.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", s.Path(name)).CombinedOutput(); err != nil {
			s.t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	return strings.TrimSpace(s.read(name + ".pub"))
}

// Path is that of a file that belongs to the server.
func (s *Server) Path(name string) string { return filepath.Join(s.Dir, name) }

// Write writes such a file.
func (s *Server) Write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.Path(name), []byte(text), 0o644); err != nil {
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
	s.Write("config", "Host "+s.Name+"\n"+strings.Join(append(settings,
		"HostName 127.0.0.1", "Port "+strconv.Itoa(s.Port), "User "+s.User, "HostKeyAlias "+s.Name,
		"IdentityFile "+s.Path("user"), "IdentitiesOnly yes", "IdentityAgent none",
		"UserKnownHostsFile "+s.Path("known"), "GlobalKnownHostsFile /dev/null"), "\n")+"\n")
}

// Location is an sftp location at the server.
func (s *Server) Location(path string) string {
	return "sftp://" + s.Name + path + "?config=" + s.Config
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
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
	s.listen = s.Command(program, "-D", "-f", s.Path("sshd_config"), "-E", s.Path("log"))
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

// Sessions is how many processes serve somebody.
func (s *Server) Sessions() int { return len(s.Signal(0)) - 1 }

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

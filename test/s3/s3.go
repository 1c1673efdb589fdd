// Package s3 runs a real S3 server on the loopback for tests: versitygw, which
// keeps objects as plain files.
package s3

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Access and Secret are the credentials of every server.
const (
	Access = "tester"
	Secret = "a secret of nobody's"
)

// A Server is a versitygw. Its buckets are directories in Dir.
type Server struct {
	Dir  string
	Addr string // host:port
	t    testing.TB
	cmd  *exec.Cmd // nil while it does not run
}

// program is versitygw's, built if need be.
var program = sync.OnceValues(func() (string, error) { return install("versitygw") })

func install(server string) (string, error) {
	_, self, _, _ := runtime.Caller(0)
	cmd := exec.Command(filepath.Join(filepath.Dir(self), "install"), server)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}

// Start starts a server with an empty bucket.
func Start(t testing.TB, bucket string) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, Dir: t.TempDir(), Addr: l.Addr().String()}
	l.Close()
	if err := os.Mkdir(filepath.Join(s.Dir, bucket), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	s.Run()
	return s
}

// Location is a location at the server; it has the settings of the client in it.
func (s *Server) Location(path string) string {
	return location(s.Addr, path)
}

// Env are the credentials for programs.
func Env() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + Access, "AWS_SECRET_ACCESS_KEY=" + Secret}
}

// Run starts the server and waits until it answers.
func (s *Server) Run() {
	s.t.Helper()
	path, err := program()
	if err != nil {
		s.t.Fatalf("test/s3/install: %v", err)
	}
	var log bytes.Buffer
	s.cmd = exec.Command(path, "--port", s.Addr, "--access", Access, "--secret", Secret, "--quiet", "posix", s.Dir)
	s.cmd.Env = append(os.Environ(), "HOME="+s.t.TempDir())
	s.cmd.Stdout, s.cmd.Stderr = &log, &log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if r, err := http.Get("http://" + s.Addr + "/"); err == nil {
			r.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			s.Kill()
			s.t.Fatalf("versitygw does not answer: %s", log.String())
		}
	}
}

// Kill ends the server as a power cut does. It does nothing if none runs.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Kill()
	s.cmd.Wait()
	s.cmd = nil
}

// Signal sends a signal to the server. One that is to stop has stopped then.
func (s *Server) Signal(number syscall.Signal) {
	s.t.Helper()
	s.cmd.Process.Signal(number)
	for deadline := time.Now().Add(20 * time.Second); number == syscall.SIGSTOP && !s.stopped(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatal("the server does not stop")
		}
	}
}

// stopped reports whether all threads have (proc_pid_stat(5)).
func (s *Server) stopped() bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.cmd.Process.Pid))
	for _, file := range threads {
		text, _ := os.ReadFile(file)
		if !bytes.Contains(text, []byte(") T ")) {
			return false
		}
	}
	return true
}

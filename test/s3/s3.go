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

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Access and Secret are the credentials of every server.
const (
	Access = "tester"
	Secret = "a secret of nobody's"
)

// A Server is a versitygw. Its buckets are directories in Dir.
type Server struct {
	Dir      string
	Addr     string // host:port
	t        testing.TB
	cmd      *exec.Cmd // nil while it does not run
	run      func(program string, args ...string) *exec.Cmd
	path     string
	accounts string // directory of other accounts than the first, "" for none
	versions string // directory of what was overwritten or removed, "" for none
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
	s := place(t)
	if err := os.Mkdir(filepath.Join(s.Dir, bucket), 0o755); err != nil {
		t.Fatal(err)
	}
	s.Run()
	return s
}

// StartAs does so with the commands of another user, who may write in a directory.
func StartAs(t testing.TB, dir string, command func(program string, args ...string) *exec.Cmd, bucket string) *Server {
	t.Helper()
	s := place(t)
	s.Dir, s.run = dir, command
	if out, err := command("mkdir", filepath.Join(dir, bucket)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.Run()
	return s
}

// place is a server that does not run yet.
func place(t testing.TB) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, Dir: t.TempDir(), Addr: l.Addr().String(), run: exec.Command}
	l.Close()
	t.Cleanup(s.Kill)
	return s
}

// StartVersioned starts a server that has accounts, and keeps versions in
// buckets that want that. The bucket is made through it, with object lock if so
// asked for.
func StartVersioned(t testing.TB, bucket string, locking bool) *Server {
	t.Helper()
	s := place(t)
	s.accounts, s.versions = t.TempDir(), t.TempDir()
	s.Run()
	if err := s.Client(Access, Secret).MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{ObjectLocking: locking}); err != nil {
		t.Fatal(err)
	}
	return s
}

// Account makes one that may do what buckets allow it.
func (s *Server) Account(access, secret string) {
	s.t.Helper()
	cmd := exec.Command(s.path, "admin", "--access", Access, "--secret", Secret, "--endpoint-url", "http://"+s.Addr,
		"create-user", "--access", access, "--secret", secret, "--role", "user")
	cmd.Env = append(os.Environ(), "HOME="+s.t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
}

// Client is a client of an account that can do more than our programs do.
func (s *Server) Client(access, secret string) *minio.Client {
	s.t.Helper()
	c, err := minio.New(s.Addr, &minio.Options{Creds: credentials.NewStaticV4(access, secret, ""), Region: region})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
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
	s.path = path
	args := []string{"--port", s.Addr, "--access", Access, "--secret", Secret, "--quiet"}
	if s.accounts != "" {
		args = append(args, "--iam-dir", s.accounts)
	}
	args = append(args, "posix")
	if s.versions != "" {
		args = append(args, "--versioning-dir", s.versions)
	}
	var log bytes.Buffer
	s.cmd = s.run(path, append(args, s.Dir)...)
	s.cmd.Env = append(s.cmd.Environ(), "HOME="+s.Dir)
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

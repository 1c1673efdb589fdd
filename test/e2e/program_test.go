package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// A result is how a program ended and what it said.
type result struct {
	status   int // 128+n for signal n, as the shell has it
	out, err string
}

func (r result) String() string {
	return strings.TrimSpace("status " + itoa(r.status) + "\n" + r.out + r.err)
}

// finish runs a prepared command to its end.
func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var out, stderr bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &stderr
	}
	err := cmd.Run()
	if ended := (*exec.ExitError)(nil); err != nil && !errors.As(err, &ended) {
		t.Fatalf("%s: %v", cmd, err)
	}
	return result{statusOf(cmd.ProcessState), out.String(), stderr.String()}
}

func statusOf(p *os.ProcessState) int {
	if w := p.Sys().(syscall.WaitStatus); w.Signaled() {
		return 128 + int(w.Signal())
	}
	return p.ExitCode()
}

// Command is a command with all its temporary files in the site's directory,
// and no more patience than the test.
func (s *site) Command(name string, args ...string) *exec.Cmd {
	cmd := s.Cluster.Command(name, args...)
	cmd.Env = append(cmd.Env, "TMPDIR="+s.dir, "PGPIPES_ARCHIVE_TIMEOUT="+patience.String())
	return cmd
}

// run runs a program as the cluster's user.
func (s *site) run(name string, args ...string) result {
	s.t.Helper()
	return finish(s.t, s.Command(name, args...))
}

// must runs a program that has to succeed, and returns its output.
func (s *site) must(name string, args ...string) string {
	s.t.Helper()
	r := s.run(name, args...)
	if r.status != 0 {
		s.t.Fatalf("%s %s: %s", name, strings.Join(args, " "), r)
	}
	return r.out
}

// refuses runs a program that has to end with this status and say this.
func (s *site) refuses(status int, saying string, name string, args ...string) {
	s.t.Helper()
	r := s.run(name, args...)
	if r.status != status || !strings.Contains(r.err, saying) {
		s.t.Errorf("%s %s: %s\nwant status %d and %q", name, strings.Join(args, " "), r, status, saying)
	}
}

// fed runs a program with a file as its standard input.
func (s *site) fed(file string, name string, args ...string) result {
	s.t.Helper()
	in, err := os.Open(file)
	if err != nil {
		s.t.Fatal(err)
	}
	defer in.Close()
	cmd := s.Command(name, args...)
	cmd.Stdin = in
	return finish(s.t, cmd)
}

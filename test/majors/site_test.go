package majors

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgpipes/test/pgtest"
)

// patience bounds every wait; a healthy system needs a second.
const patience = 60 * time.Second

// A site is a cluster that archives to a repository.
type site struct {
	*pgtest.Cluster
	t    *testing.T
	dir  string // for files; the cluster's user may write there
	repo string
}

// newSite makes a cluster with everything in it that a backup may stumble over.
func newSite(t *testing.T) *site {
	t.Helper()
	tools, dir := pgtest.BuildTools(t), pgtest.TempDir(t)
	s := &site{t: t, dir: dir, repo: filepath.Join(dir, "repo")}
	s.Cluster = pgtest.New(t, pgtest.Options{Checksums: true, SegmentMB: segmentMB(), Conf: []string{
		"archive_mode = on", "archive_command = '" + tools + "/wal-push -r " + s.repo + " %p'",
		"shared_buffers = 16MB", "max_locks_per_transaction = 512", "wal_retrieve_retry_interval = 100ms", "max_wal_senders = 10", "wal_keep_size = 256MB",
	}})
	s.populate()
	return s
}

// segmentMB is the size of WAL segments: many small ones, unless there is much
// for them.
func segmentMB() int {
	if *large > 0 {
		return 16
	}
	return 1
}

// in is the site in a subtest.
func (s *site) in(t *testing.T) *site {
	return &site{Cluster: s.Cluster, t: t, dir: s.dir, repo: s.repo}
}

// path is a file of the subtest's.
func (s *site) path(name string) string {
	return filepath.Join(s.dir, strings.NewReplacer("/", "-", " ", "_").Replace(s.t.Name())+"."+name)
}

// must runs a program that has to succeed, and returns its output.
func (s *site) must(name string, args ...string) string {
	s.t.Helper()
	return s.finish(s.command(name, args...))
}

func (s *site) command(name string, args ...string) *exec.Cmd {
	cmd := s.Command(name, args...)
	cmd.Env = append(cmd.Env, "TMPDIR="+s.dir, "PGPIPES_ARCHIVE_TIMEOUT="+patience.String())
	return cmd
}

func (s *site) finish(cmd *exec.Cmd) string {
	s.t.Helper()
	var out, stderr bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("%q: %v\n%s", cmd.Args, err, stderr.String())
	}
	return out.String()
}

// busy has pgbench work, and tables come and go, until the function it returns
// is called.
func (s *site) busy() (stop func()) {
	s.t.Helper()
	script := s.path("script")
	must(s.t, os.WriteFile(script, []byte(busyness), 0o644))
	cmd := s.command("pgbench", "-n", "-c", "2", "-T", "600", "-b", "tpcb-like@9", "-f", script+"@1")
	must(s.t, cmd.Start())
	return func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		s.Until("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'", "0")
	}
}

// archived ends the current segment and waits until it is in the repository.
func (s *site) archived() {
	s.t.Helper()
	name := s.SQL("SELECT pg_walfile_name(pg_switch_wal())")
	file := filepath.Join(s.repo, "wal", name[:16], name+".zst")
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
			return
		}
	}
	s.t.Fatalf("%s has not been archived", name)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pgpipes/lib/wait"
	"pgpipes/test/pgtest"
)

// patience bounds every wait; a healthy system needs a second.
const patience = time.Minute

// A shape is what distinguishes the clusters of the tests.
type shape struct {
	checksums bool
	segmentMB int
	serial    int // clusters of another number have another system identifier
}

// small is the shape of most: its WAL segments are cheap to fill.
var small = shape{checksums: true, segmentMB: 1}

var templates struct {
	sync.Mutex
	made map[shape]string
}

// template is a data directory as initdb makes it. It lies beside the programs
// and goes with them.
func template(t *testing.T, s shape) string {
	t.Helper()
	templates.Lock()
	defer templates.Unlock()
	if dir, ok := templates.made[s]; ok {
		return dir
	}
	c := pgtest.New(t, pgtest.Options{Checksums: s.checksums, SegmentMB: s.segmentMB, Stopped: true, Conf: []string{
		"shared_buffers = 16MB", "max_connections = 20", "wal_retrieve_retry_interval = 100ms",
		"log_checkpoints = off", "log_line_prefix = '%m [%p] '",
	}})
	dir := filepath.Join(programs(t), fmt.Sprintf("template-%t-%d-%d", s.checksums, s.segmentMB, s.serial))
	shell(t, "cp", "-a", c.Data, dir)
	if templates.made == nil {
		templates.made = map[shape]string{}
	}
	templates.made[s] = dir
	return dir
}

// newCluster makes a cluster and does not start it.
func newCluster(t *testing.T, s shape, conf ...string) *pgtest.Cluster {
	t.Helper()
	data := filepath.Join(pgtest.TempDir(t), "data")
	shell(t, "cp", "-a", template(t, s), data)
	c := pgtest.Attach(t, data)
	c.Configure(conf...)
	return c
}

// lean drops the databases that nobody needs, where a test reads or writes a
// backup many times.
func (s *site) lean() {
	s.t.Helper()
	for _, database := range []string{"template0", "template1"} {
		s.SQL("ALTER DATABASE " + database + " IS_TEMPLATE false")
		s.SQL("DROP DATABASE " + database)
	}
}

// A site is a cluster that archives to a repository.
type site struct {
	*pgtest.Cluster
	t    *testing.T
	dir  string // for files; the cluster's user may write there
	repo string // its location
	// local is the repository as a directory, which it is behind every location.
	local string
	// beside is another place for a repository, beside the first.
	beside func(name string) (repo, local string)
}

// newSite makes a site and starts it. Its repository is where -repository says.
func newSite(t *testing.T, sh shape, conf ...string) *site {
	t.Helper()
	return newSiteOn(t, *repository, sh, conf...)
}

// hereSite is a site whose repository is a directory, for what is true of nothing
// else.
func hereSite(t *testing.T, sh shape, conf ...string) *site {
	t.Helper()
	return newSiteOn(t, "directory", sh, conf...)
}

func newSiteOn(t *testing.T, kind string, sh shape, conf ...string) *site {
	t.Helper()
	s := &site{Cluster: newCluster(t, sh), t: t, dir: pgtest.TempDir(t)}
	switch kind {
	case "directory":
		s.beside = func(name string) (repo, local string) { return s.path(name), s.path(name) }
	case "sftp":
		s.behindSFTP()
	case "s3":
		s.inBucket()
	default:
		t.Fatalf("-repository %s is neither directory nor sftp nor s3", kind)
	}
	s.repo, s.local = s.beside("repo")
	s.Configure("archive_mode = on", archiveTo(t, s.repo))
	s.Configure(conf...)
	s.Start()
	return s
}

// use has a directory for a repository.
func (s *site) use(dir string) { s.repo, s.local = dir, dir }

// archiveTo is a line of postgresql.conf.
func archiveTo(t *testing.T, repos ...string) string {
	return fmt.Sprintf("archive_command = '%s/wal-push %s %%p'", programs(t), quoted(repos))
}

// restoreFrom is a line of postgresql.conf: one attempt for each file.
func restoreFrom(t *testing.T, repo string) string {
	return fmt.Sprintf("restore_command = '%s/wal-get %s --retry 0s %%f %%p'", programs(t), quoted([]string{repo}))
}

// quoted are options that name repositories, within a setting of the server.
func quoted(repos []string) string {
	options := make([]string, len(repos))
	for i, repo := range repos {
		options[i] = "-r ''" + repo + "''"
	}
	return strings.Join(options, " ")
}

// in is the site in a subtest.
func (s *site) in(t *testing.T) *site {
	own := *s
	own.t = t
	return &own
}

// with is the site with another server in the place of its own.
func (s *site) with(c *pgtest.Cluster) *site {
	own := *s
	own.Cluster = c
	return &own
}

// path is a file of the site's.
func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// endSegment ends the current WAL segment and waits until it is archived.
func (s *site) endSegment() string {
	s.t.Helper()
	name := s.SQL("SELECT pg_walfile_name(pg_switch_wal())")
	s.awaitSegment(name)
	return name
}

// endingSegments has the server end one every few seconds, until the function that it
// returns is called. The backup of a standby may end within a segment in which an idle
// primary has only noted what runs, and which it never ends.
func (s *site) endingSegments() (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var working sync.WaitGroup
	working.Go(func() {
		for wait.Sleep(ctx, 5*time.Second) {
			_, _ = s.TrySQL("SELECT pg_switch_wal()") // it may be that the test has ended
		}
	})
	return func() {
		cancel()
		working.Wait()
	}
}

func (s *site) awaitSegment(name string) {
	s.t.Helper()
	eventually(s.t, name+" in the repository", func() bool { return exists(s.segmentFile(name)) })
}

// segmentFile is where the repository holds a segment.
func (s *site) segmentFile(name string) string {
	return segmentFile(s.local, name)
}

// inRepo is the file in which the repository has a key, given whole or by its
// elements.
func (s *site) inRepo(key ...string) string {
	return filepath.Join(append([]string{s.local}, key...)...)
}

func segmentFile(repo, name string) string {
	return filepath.Join(repo, "wal", name[:16], name+".zst")
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("still not after %v: %s", patience, what)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// recovers starts a server that is to recover, and waits until it has either
// promoted itself or ended.
func recovers(t *testing.T, c *pgtest.Cluster) (promoted bool) {
	t.Helper()
	if err := c.TryStart(); err != nil {
		return false
	}
	eventually(t, "promoted or ended", func() bool {
		if syscall.Kill(c.Pid(), 0) != nil {
			c.Wait()
			return true
		}
		out, err := c.TrySQL("SELECT pg_is_in_recovery()")
		promoted = err == nil && out == "f"
		return promoted
	})
	return promoted
}

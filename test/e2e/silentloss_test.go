package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgpipes/test/pgtest"
)

// An archived is a cluster's archive over two timelines, each with rows that
// came one a segment, and a backup from before the first of them.
type archived struct {
	*site
	data   string    // the backup, unpacked
	parent [4]string // segments of timeline 1 that end with rows 1 to 4
	child  [4]string // segments of timeline 2 that end with rows 5 to 8
}

// archiveTwoTimelines makes the archive: the cluster promotes itself in between.
func archiveTwoTimelines(t *testing.T) archived {
	t.Helper()
	s := newSite(t, small)
	s.SQL("CREATE TABLE rows (n int)")
	s.backup("b")
	a := archived{site: s, data: s.unpack("b")}
	for i := range a.parent {
		a.parent[i] = s.row(i + 1)
	}
	s.Stop("fast")
	s.must("touch", filepath.Join(s.Data, "recovery.signal"))
	s.Configure(restoreFrom(t, s.repo))
	if !recovers(t, s.Cluster) {
		t.Fatalf("no second timeline:\n%s", s.Log())
	}
	for i := range a.child {
		a.child[i] = s.row(i + 5)
	}
	s.Stop("fast")
	return a
}

// row adds a row and ends the segment with it.
func (s *site) row(n int) (segment string) {
	s.t.Helper()
	s.SQL("INSERT INTO rows VALUES (" + itoa(n) + ")")
	return s.endSegment()
}

// recoverer makes a server of its own of the archive's backup, that is to
// recover all there is, from a copy of the repository, which is local here.
func (a archived) recoverer(t *testing.T) (c *pgtest.Cluster, local string) {
	t.Helper()
	dir := pgtest.TempDir(t)
	repo, local := a.beside(filepath.Base(dir))
	shell(t, "cp", "-a", a.local, local)
	shell(t, "cp", "-a", a.data, filepath.Join(dir, "data"))
	c = pgtest.Attach(t, filepath.Join(dir, "data"))
	c.Configure(restoreFrom(t, repo), archiveTo(t, repo))
	return c, local
}

// Whatever is wrong with the archive, a server that recovers all there is must
// stop rather than take what it got for all, and go on when it is mended.
func TestNoSilentLoss(t *testing.T) {
	a := archiveTwoTimelines(t)
	history := "wal/history/00000002.history"
	object := func(segment string) string { return filepath.Join("wal", segment[:16], segment+".zst") }
	forbidden := "permission denied"
	if *repository == "s3" {
		forbidden = "missing" // is all that its server says
	}
	otherCluster := func(t *testing.T, file string) { rewrite(t, file, func(b []byte) { b[24] ^= 0xff }) }
	tests := []struct {
		name string
		file string // in the repository
		harm func(t *testing.T, file string)
		says string // in the server's log
	}{
		{"hole in the parent", object(a.parent[1]), remove, "missing"},
		{"hole before the switch", object(a.parent[3]), remove, "missing"},
		{"hole in the child", object(a.child[2]), remove, "missing"},
		{"first of the child missing", object(a.child[0]), remove, "missing"},
		{"history missing", history, remove, "missing"},
		{"history empty", history, empty, "damaged"},
		{"bit rot", object(a.parent[1]), rot, "damaged"},
		{"bit rot in the child", object(a.child[1]), rot, "damaged"},
		{"truncated", object(a.parent[2]), truncate, "damaged"},
		{"empty", object(a.parent[2]), empty, "damaged"},
		{"of another segment", object(a.parent[2]), copyOf(object(a.parent[0])), "damaged"},
		{"of another cluster", object(a.parent[2]), otherCluster, "damaged"},
		{"repository gone", ".", remove, "repository"},
		{"identity gone", "pgpipes", remove, "repository"},
		{"identity of another cluster", "pgpipes", otherIdentity, "another cluster"},
		{"identity damaged", "pgpipes", truncate, "damaged"},
		{"segments gone", filepath.Join("wal", a.parent[0][:16]), remove, "missing"},
		{"no permission", object(a.parent[2]), forbid, forbidden},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c, local := a.recoverer(t)
			c.Run("touch", filepath.Join(c.Data, "recovery.signal"))
			file, saved := filepath.Join(local, test.file), filepath.Join(filepath.Dir(c.Data), "saved")
			shell(t, "cp", "-a", file, saved)
			test.harm(t, file)
			if promoted := recovers(t, c); promoted {
				t.Fatalf("recovery came to an end with rows %s:\n%s", c.SQL(allRows), c.Log())
			}
			stopped(t, c, test.says)
			shell(t, "rm", "-rf", file)
			shell(t, "cp", "-a", saved, file)
			if !recovers(t, c) {
				t.Fatalf("still not recovered:\n%s", c.Log())
			}
			expect(t, "rows", c.SQL(allRows), "1,2,3,4,5,6,7,8")
			expect(t, "timeline", c.SQL("SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)"), "00000003")
		})
	}
}

const allRows = "SELECT string_agg(n::text, ',' ORDER BY n) FROM rows"

// stopped makes sure that a server that has ended did so in the middle of its
// recovery, and left no trace of another timeline.
func stopped(t *testing.T, c *pgtest.Cluster, says string) {
	t.Helper()
	log := c.Log()
	if strings.Contains(log, "archive recovery complete") || strings.Contains(log, "selected new timeline") {
		t.Errorf("recovery ended:\n%s", log)
	}
	if !strings.Contains(log, says) || !strings.Contains(log, "could not restore file") {
		t.Errorf("the log does not say %q:\n%s", says, log)
	}
	if !exists(filepath.Join(c.Data, "recovery.signal")) || exists(filepath.Join(c.Data, "pg_wal/00000003.history")) {
		t.Errorf("not resumable:\n%s", log)
	}
}

func remove(t *testing.T, file string) { shell(t, "rm", "-r", file) }
func empty(t *testing.T, file string)  { shell(t, "truncate", "-s", "0", file) }

func truncate(t *testing.T, file string) {
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	shell(t, "truncate", "-s", fmt.Sprint(info.Size()/2), file)
}

// forbid makes a file unreadable for the server, which is not root.
func forbid(t *testing.T, file string) { shell(t, "chmod", "0", file) }

// rot flips a bit in the middle of a stored file: the first that matters, as
// some of those that describe a run of zeros do not.
func rot(t *testing.T, file string) {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	shell(t, "chmod", "u+w", file)
	for at := len(b) / 2; at < len(b); at++ {
		b[at] ^= 4
		if err := os.WriteFile(file, b, 0); err != nil {
			t.Fatal(err)
		}
		if exec.Command("zstd", "-tq", file).Run() != nil {
			return
		}
		b[at] ^= 4
	}
	t.Fatalf("%s: no bit of it matters", file)
}

// copyOf puts another object of the repository in the place of one.
func copyOf(other string) func(*testing.T, string) {
	return func(t *testing.T, file string) {
		shell(t, "cp", "-p", filepath.Join(file, "../../..", other), file)
	}
}

// otherIdentity has a repository belong to a cluster that does not exist.
func otherIdentity(t *testing.T, file string) {
	shell(t, "sed", "-i", "s/^system-identifier\t.*/system-identifier\t42/", file)
}

// rewrite changes the contents of a compressed file.
func rewrite(t *testing.T, file string, change func(b []byte)) {
	t.Helper()
	plain := filepath.Join(pgtest.TempDir(t), "plain")
	shell(t, "zstd", "-qd", file, "-o", plain)
	b, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(b)
	if change(b); bytes.Equal(before, b) {
		t.Fatalf("%s: not changed", file)
	}
	if err := os.WriteFile(plain, b, 0o644); err != nil {
		t.Fatal(err)
	}
	shell(t, "zstd", "-qf", plain, "-o", file)
}

// A standby outlives an outage of the repository, and then catches up.
func TestStandbyOutlivesOutage(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE rows (n int)")
	s.backup("b")
	s.row(1)
	c := s.restored(t, "--standby")
	c.Configure("wal_retrieve_retry_interval = 100ms")
	s.retryNever(c)
	c.Start()
	c.Until(allRows, "1")
	shell(t, "mv", s.local, s.local+".away")
	eventually(t, "an outage in the log", func() bool { return strings.Contains(c.Log(), "a standby asks again") })
	c.SQL("SELECT 1")
	shell(t, "mv", s.local+".away", s.local)
	s.row(2)
	c.Until(allRows, "1,2")
	expect(t, "in recovery", c.SQL("SELECT pg_is_in_recovery()"), "t")
}

// A hole stops a standby too: promoted, it would lose what is behind it.
func TestStandbyStopsAtHole(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE rows (n int)")
	s.backup("b")
	hole := s.row(1)
	s.row(2)
	c := s.restored(t, "--standby")
	s.retryNever(c)
	shell(t, "mv", s.segmentFile(hole), s.path("hole"))
	if recovers(t, c) {
		t.Fatalf("promoted:\n%s", c.Log())
	}
	shell(t, "mv", s.path("hole"), s.segmentFile(hole))
	c.Start()
	c.Until(allRows, "1,2")
}

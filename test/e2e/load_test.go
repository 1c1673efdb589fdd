package e2e

import (
	"io"
	"os/exec"
	"syscall"
	"testing"

	"pgpipes/test/pgtest"
)

// digest is everything in the tables of a test, as one line. The tables of
// pgbench have few columns that matter.
const digest = `SELECT
	(SELECT count(*) || ':' || coalesce(sum(hashtext(h.tid || '.' || h.bid || '.' || h.aid || '.' || h.delta)), 0) FROM pgbench_history h),
	(SELECT sum(hashtext(aid || '.' || abalance)) FROM pgbench_accounts),
	(SELECT count(*) || ':' || coalesce(sum(hashtext(m::text)), 0) FROM marks m),
	(SELECT count(*) || ':' || coalesce(sum(hashtext(x::text)), 0) FROM extended x),
	(SELECT count(*) FROM truncated),
	(SELECT to_regclass('dropped') IS NULL),
	(SELECT count(*) || ':' || coalesce(sum(hashtext(e::text)), 0) FROM elsewhere e)`

// balanced holds at every moment of a pgbench run, and only if no transaction
// is there by halves.
const balanced = `SELECT
	(SELECT sum(abalance) FROM pgbench_accounts) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history) AND
	(SELECT sum(bbalance) FROM pgbench_branches) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history) AND
	(SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history)`

// populate makes the tables.
func (s *site) populate() {
	s.t.Helper()
	s.must("mkdir", s.path("the tablespace"))
	s.SQL("CREATE TABLESPACE elsewhere LOCATION '" + s.path("the tablespace") + "'")
	s.must("pgbench", "-i", "-q", "-s", "1")
	s.SQL(`CREATE TABLE marks (what text);
		CREATE TABLE extended AS SELECT n, repeat('x', 500) AS pad FROM generate_series(1, 100) n;
		CREATE TABLE truncated AS SELECT n, repeat('y', 500) AS pad FROM generate_series(1, 2000) n;
		CREATE TABLE dropped AS SELECT n, repeat('z', 500) AS pad FROM generate_series(1, 2000) n;
		CREATE TABLE elsewhere TABLESPACE elsewhere AS SELECT n, repeat('e', 200) AS pad FROM generate_series(1, 500) n;
		CREATE INDEX ON elsewhere (n);
		CREATE UNLOGGED TABLE unlogged AS SELECT n FROM generate_series(1, 1000) n`)
}

// disturb changes what a running copy has read, is reading or will read.
func (s *site) disturb() {
	s.t.Helper()
	s.SQL(`INSERT INTO extended SELECT n, repeat('w', 500) FROM generate_series(101, 3000) n;
		UPDATE elsewhere SET pad = repeat('f', 250) WHERE n % 3 = 0;
		TRUNCATE truncated;
		DROP TABLE dropped;
		INSERT INTO unlogged SELECT n FROM generate_series(1001, 2000) n`)
}

// burst runs a number of pgbench transactions.
func (s *site) burst(transactions int) {
	s.t.Helper()
	s.must("pgbench", "-n", "-c", "2", "-t", itoa(transactions/2))
}

// keepBusy runs pgbench until the function it returns is called.
func (s *site) keepBusy() (stop func()) {
	s.t.Helper()
	cmd := s.Command("pgbench", "-n", "-c", "2", "-T", "600", "-R", "200")
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	end := func() { cmd.Process.Signal(syscall.SIGTERM); cmd.Wait() }
	s.t.Cleanup(end)
	return func() {
		end()
		s.Until("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'", "0")
	}
}

// A session is a psql that stays connected.
type session struct {
	cmd *exec.Cmd
	in  io.WriteCloser
}

// connect opens a session that runs a query first.
func (s *site) connect(query string) session {
	s.t.Helper()
	cmd := s.Command("psql", "-XAtq", "-v", "ON_ERROR_STOP=1")
	cmd.Env = append(cmd.Env, "PGAPPNAME=session")
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		_, err = io.WriteString(in, query+";\n")
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { in.Close(); cmd.Wait() })
	s.Until("SELECT state FROM pg_stat_activity WHERE application_name = 'session' AND query <> ''", "idle")
	return session{cmd, in}
}

// sound checks a recovered server and then its files: the heap and all indexes
// by amcheck, every page's checksum.
func sound(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	if got := c.SQL(balanced); got != "t" {
		t.Errorf("the accounts do not balance")
	}
	c.Run("pg_amcheck", "--install-missing", "--heapallindexed", "-d", "postgres")
	c.Stop("fast")
	c.Run("pg_checksums", "--check", "-D", c.Data)
}

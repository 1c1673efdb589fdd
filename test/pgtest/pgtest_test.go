package pgtest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgpipes/test/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// The cluster's user finds and runs what was built.
func TestBuildTools(t *testing.T) {
	dir := pgtest.BuildTools(t)
	programs, err := os.ReadDir(dir)
	if err != nil || len(programs) == 0 {
		t.Fatalf("%s: %d programs, %v", dir, len(programs), err)
	}
	c := pgtest.New(t, pgtest.Options{Stopped: true})
	for _, program := range programs {
		if found := c.Run("sh", "-c", "command -v "+program.Name()); found != filepath.Join(dir, program.Name()) {
			t.Errorf("%s is found at %q", program.Name(), found)
		}
		c.Run(program.Name(), "--help")
	}
	if again := pgtest.BuildTools(t); again != dir {
		t.Errorf("built again in %s", again)
	}
}

func TestClusterLives(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{Checksums: true, SegmentMB: 1, Conf: []string{"work_mem = 5MB"}})
	got := c.SQL("SELECT current_setting('data_checksums'), current_setting('wal_segment_size'), current_setting('work_mem')")
	if want := "on|1MB|5MB"; got != want {
		t.Errorf("settings %s, want %s", got, want)
	}
	if _, err := c.TrySQL("SELECT 1/0"); err == nil {
		t.Error("a failed query is no error")
	}
	c.Stop("fast")
	c.Start()
	c.SQL("SELECT 1")
}

// A killed server leaves no process behind, not even a running archive_command,
// and comes back by crash recovery.
func TestKill(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{Conf: []string{
		"archive_mode = on",
		"archive_command = 'touch started; exec sleep 1000'",
	}})
	c.SQL("CREATE TABLE t AS SELECT 1 AS a")
	c.SQL("SELECT pg_switch_wal()")
	c.Until("SELECT count(*) FROM pg_stat_file('started')", "1")
	c.Kill()
	if out, err := exec.Command("pgrep", "-f", c.Data).Output(); err == nil {
		t.Errorf("still running: %s", out)
	}
	c.Start()
	if got := c.SQL("SELECT a FROM t"); got != "1" {
		t.Errorf("after the crash: %q", got)
	}
}

// Nor does it leave shared memory, of which there is not much, when the test has ended.
func TestKillLeavesNoSharedMemory(t *testing.T) {
	shared := func() map[string]bool {
		list, err := os.ReadFile("/proc/sysvipc/shm")
		if err != nil {
			t.Fatal(err)
		}
		ids := map[string]bool{}
		for line := range strings.Lines(string(list)) {
			ids[strings.Fields(line)[1]] = true
		}
		return ids
	}
	id := ""
	t.Run("killed", func(t *testing.T) {
		c := pgtest.New(t, pgtest.Options{})
		pid, err := os.ReadFile(filepath.Join(c.Data, "postmaster.pid"))
		if err != nil {
			t.Fatal(err)
		}
		id = strings.Fields(strings.Split(string(pid), "\n")[6])[1]
		c.Kill()
		if !shared()[id] {
			t.Errorf("%s is not there", id)
		}
	})
	if shared()[id] {
		t.Errorf("%s is left", id)
	}
}

func TestServerThatRefuses(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{Stopped: true, Conf: []string{"shared_buffers = none"}})
	if err := c.TryStart(); err == nil || !strings.Contains(c.Log(), "shared_buffers") {
		t.Errorf("error %v, log %s", err, c.Log())
	}
}

func TestStandby(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{})
	s := c.Standby()
	c.SQL("CREATE TABLE t AS SELECT 7 AS a")
	s.Until("SELECT a FROM t", "7")
	if got := s.SQL("SELECT pg_is_in_recovery()"); got != "t" {
		t.Errorf("in recovery: %s", got)
	}
}

// The cluster's user can write to a TempDir, and commands see the cluster.
func TestCommand(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{Stopped: true})
	file := filepath.Join(pgtest.TempDir(t), "file")
	c.Run("sh", "-c", `echo "$PGHOST:$PGPORT" > "$0"`, file)
	b, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(b), c.Socket+":") {
		t.Errorf("%q, %v", b, err)
	}
}

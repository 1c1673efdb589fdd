package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pgpipes/test/pgtest"
)

// stockTools is all that a stock restore has, besides PostgreSQL.
var stockTools = []string{"sh", "tar", "zstd", "cp", "mv", "rm", "rmdir", "mkdir", "cat", "cut", "touch", "sync"}

// stockPath makes a directory of links to the stock tools.
func stockPath(t *testing.T) string {
	t.Helper()
	dir := pgtest.TempDir(t)
	for _, tool := range stockTools {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(dir, tool)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// stockRestore is the text in README.md that restores without our programs.
func stockRestore(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)<!-- stock-restore -->\\s*```[a-z]*\n(.*?)```").FindStringSubmatch(string(b))
	if found == nil {
		t.Fatal("README.md has no block after <!-- stock-restore -->")
	}
	if lines := strings.Count(found[1], "\n"); lines > 10 {
		t.Errorf("a stock restore takes %d lines, more than ten", lines)
	}
	return found[1]
}

// A backup with a tablespace, and the WAL after it, come back with what every
// system has, by the text in README.md.
func TestStockToolsRestore(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.populate()
	s.backup("b")
	s.burst(20)
	s.SQL("UPDATE elsewhere SET pad = 'changed' WHERE n = 7")
	want := s.SQL(digest)
	s.endSegment()
	s.Stop("fast")
	shell(t, "mv", s.path("the tablespace"), s.path("wrecked"))

	c := pgtest.Attach(t, filepath.Join(pgtest.TempDir(t), "data"))
	env := []string{
		"REPO=" + s.local, "BACKUP=b", "PGDATA=" + c.Data, "HOME=" + s.dir, "LC_ALL=C", "TZ=UTC",
		"PATH=" + stockPath(t) + ":" + strings.TrimSpace(s.must("pg_config", "--bindir")),
	}
	cmd := s.Command("sh", "-eu", "-c", stockRestore(t))
	cmd.Env = env
	if r := finish(t, cmd); r.status != 0 {
		t.Fatal(r)
	}
	ctl := func(args ...string) result {
		cmd := s.Command("pg_ctl", append([]string{"-s", "-w", "-D", c.Data, "-l", s.path("log")}, args...)...)
		cmd.Env = env
		return finish(t, cmd)
	}
	t.Cleanup(func() { ctl("stop", "-m", "immediate") })
	if r := ctl("start", "-o", "-c listen_addresses= -c archive_mode=off -k "+c.Socket+" -p "+itoa(c.Port)); r.status != 0 {
		log, _ := os.ReadFile(s.path("log"))
		t.Fatalf("%s\n%s", r, log)
	}
	c.Until("SELECT pg_is_in_recovery()", "f")
	expect(t, "contents", c.SQL(digest), want)
}

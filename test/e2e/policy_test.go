package e2e

import (
	"strings"
	"testing"
)

// A backup with rules of its own for what goes, tags, and WAL that is kept apart:
// what is older can be restored to its own end, and what is newer to any moment.
func TestBackupWithPolicy(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE rows (n int)")
	s.must("backup", "-r", s.repo, "-D", s.Data, "--fast", "--label", "a", "--tag", "release", "--tag", "x.1")
	s.row(1)
	s.backup("b")
	s.row(2)
	s.must("backup", "-r", s.repo, "-D", s.Data, "--fast", "--label", "c", "--keep-last", "1", "--keep-tag", "release", "--wal-keep", "backup")
	s.row(3)
	expect(t, "backups", s.listed(), "a c")
	s.must("manifest", "verify", "-r", s.repo)
	windows := s.must("manifest", "list", "--windows", "-r", s.repo)
	if !strings.Contains(windows, "\texpired\t") || strings.Contains(windows, "\tmissing\t") {
		t.Error(windows)
	}
	expect(t, "rows at the end of a", s.recovered(t, "--backup", "a", "--to", "immediate", "--archive-mode", "off").SQL(allRows), "")
	expect(t, "rows", s.recovered(t, "--archive-mode", "off").SQL(allRows), "1,2,3")
	if notes := s.must("repo", "ls", "-r", s.repo, "restore/"); strings.Count(notes, "\n") != 2 {
		t.Errorf("notes of restores: %q", notes)
	}
	r := s.run("expire", "-r", s.repo, "--keep-last", "1", "--dry-run")
	if !strings.Contains(r.out, "keep\tbackup\ta\tbeing restored on ") {
		t.Error(r)
	}
}

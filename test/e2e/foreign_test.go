package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgpipes/test/pgtest"
)

// The stream of pg_basebackup is as welcome as one of ours: it gets a manifest,
// is verified, and is restored with it and without.
func TestStreamOfPgBasebackup(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE rows (n int)")
	s.SQL("CREATE UNLOGGED TABLE unlogged AS SELECT generate_series(1, 1000) AS n")
	s.must("sh", "-euc", `pg_basebackup -c fast -Ft -X none -D - > "$1/tar"
		manifest create -o "$1/m" < "$1/tar"
		manifest verify -m "$1/m" < "$1/tar"
		manifest create -o "$1/m2" --pass < "$1/tar" | cmp - "$1/tar"
		cmp "$1/m" "$1/m2"
		base-restore -D "$1/with" -m "$1/m" < "$1/tar"
		base-restore -D "$1/without" < "$1/tar"
		manifest verify -m "$1/m" -D "$1/with"
		manifest verify -m "$1/m" -D "$1/without"
		pg_verifybackup -n "$1/with"
		pg_verifybackup -n "$1/without"`, "sh", s.dir)
	s.row(1)
	s.Stop("fast")
	for _, dir := range []string{"with", "without"} {
		c := pgtest.Attach(t, s.path(dir))
		c.Configure(restoreFrom(t, s.repo), "archive_mode = off")
		s.must("touch", filepath.Join(c.Data, "recovery.signal"))
		if !recovers(t, c) {
			t.Fatalf("%s: not recovered:\n%s", dir, c.Log())
		}
		expect(t, "rows", c.SQL(allRows), "1")
		c.Stop("fast")
	}
}

// As a repository's backup it is restored by the script.
func TestStreamOfPgBasebackupInRepository(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE rows (n int)")
	s.must("repo", "init", "-r", s.repo, "-D", s.Data)
	s.must("sh", "-euc", `pg_basebackup -c fast -Ft -X none -l foreign -D - |
			manifest create --label foreign -o "$1/m" --pass | compress | repo put -r "$2" base/foreign/000.tar.zst > "$1/receipt"
		manifest seal "$1/m" < "$1/receipt" | repo put -r "$2" base/foreign/manifest
		manifest verify -r "$2" foreign`, "sh", s.dir, s.repo)
	s.row(1)
	expect(t, "rows", s.recovered(t, "--backup", "foreign").SQL(allRows), "1")
}

// When it ended is known wherever the server is: it is the newest backup if it is.
func TestEndOfPgBasebackup(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.Configure("log_timezone = 'Asia/Kathmandu'")
	older := s.hold("older", 64<<10)
	older.done()
	older.store("older")
	s.must("sh", "-euc", `pg_basebackup -c fast -Ft -X none -D - |
			manifest create --label newer -o "$1/m" --pass | repo put -r "$2" base/newer/000.tar > "$1/receipt"
		manifest seal "$1/m" < "$1/receipt" | repo put -r "$2" base/newer/manifest`, "sh", s.dir, s.repo)
	out := s.must("expire", "-r", s.repo, "--keep-last", "1", "--dry-run")
	if !strings.Contains(out, "keep\tbackup\tnewer\tnumber 1") || !strings.Contains(out, "drop\tbackup\tolder\t") {
		t.Error(out)
	}
}

// A whole directory, from pg_basebackup -R with WAL inside, has files that are
// of no backup; they are told.
func TestVerifyDirectory(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	h := s.hold("b", 64<<10)
	h.done()
	if r := s.fed(h.file, "base-restore", "-D", s.path("data"), "-m", h.manifest); r.status != 0 {
		t.Fatal(r)
	}
	verify := []string{"verify", "-m", h.manifest, "-D", s.path("data")}
	s.must("manifest", verify...)
	relation := s.SQL("SELECT pg_relation_filepath('pg_class')")
	harm := map[string]func(){
		"PG_VERSION": func() { os.Remove(s.path("data/PG_VERSION")) },
		"stray":      func() { os.WriteFile(s.path("data/stray"), []byte("x"), 0o644) },
		relation:     func() { damage(t, s.path("data/"+relation), 100) },
	}
	for file, harmIt := range harm {
		shell(t, "cp", "-a", s.path("data"), s.path("saved"))
		harmIt()
		if r := s.run("manifest", verify...); r.status != 1 {
			t.Errorf("%s: %s", file, r)
		}
		shell(t, "rm", "-r", s.path("data"))
		shell(t, "mv", s.path("saved"), s.path("data"))
	}
	s.must("manifest", verify...)
}

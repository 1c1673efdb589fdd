package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgpipes/test/pgtest"
)

// to writes a manifest in another form into a file.
func (s *site) to(form, name string) string {
	s.t.Helper()
	file := s.path(filepath.Base(name) + "." + form)
	s.write(file, s.must("manifest", "convert", "--to", form, "-r", s.repo, name))
	return file
}

// write makes a file that the cluster's user can read.
func (s *site) write(file, text string) {
	s.t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// checks are what stock tools say of a directory, given forms of its manifest.
func (s *site) checks(label, dir string) map[string]func() result {
	sums, tree, server := s.to("sha256sum", label), s.to("mtree", label), s.to("backup_manifest", label)
	return map[string]func() result{
		"sha256sum": func() result {
			return s.run("sh", "-c", `cd "$1" && sha256sum --quiet --strict -c "$2"`, "sh", dir, sums)
		},
		"mtree":           func() result { return s.run("mtree", "-L", "-p", dir, "-f", tree) },
		"pg_verifybackup": func() result { return s.run("pg_verifybackup", "-q", "-m", server, dir) },
	}
}

// A restored cluster with a tablespace is what its manifest says in every form,
// and stock tools notice when it is not.
func TestConvertedManifestsHold(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.populate()
	s.backup("b", "--with-wal")
	dir := s.unpack("b")
	checks := s.checks("b", dir)
	for name, check := range checks {
		if r := check(); r.status != 0 || r.out != "" {
			t.Errorf("%s: %s", name, r)
		}
	}
	if s.Major() < 17 {
		v2 := s.to("backup_manifest-v2", "b")
		s.refuses(1, "unexpected manifest version", "pg_verifybackup", "-q", "-n", "-m", v2, dir)
	}

	damaged := filepath.Join(dir, s.SQL("SELECT pg_relation_filepath('pg_class')"))
	s.must("sh", "-c", `printf X | dd of="$1" bs=1 seek=100 conv=notrunc`, "sh", damaged)
	for name, check := range checks {
		if r := check(); r.status == 0 || !strings.Contains(r.out+r.err, filepath.Base(damaged)) {
			t.Errorf("%s: of a changed file: %s", name, r)
		}
	}
}

// What PostgreSQL's own tool has copied can be compared with our backup.
func TestManifestOfPgBasebackup(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE one AS SELECT n FROM generate_series(1, 100) n")
	theirs := filepath.Join(pgtest.TempDir(t), "theirs")
	s.must("pg_basebackup", "-D", theirs, "-c", "fast", "-d", s.ConnInfo(), "--manifest-checksums=SHA256")
	m := s.path("m")
	s.write(m, s.must("manifest", "convert", "--from", "backup_manifest", theirs+"/backup_manifest"))
	s.write(m+".server", s.must("manifest", "convert", "--to", "backup_manifest", m))
	s.must("pg_verifybackup", "-q", "-m", m+".server", theirs)

	s.SQL("UPDATE one SET n = n + 1")
	s.SQL("CREATE TABLE two AS SELECT 1")
	s.backup("b")
	relations := map[string]string{}
	r := s.run("manifest", "diff", "--relations", "-r", s.repo, m, "b")
	for line := range strings.Lines(r.out) {
		c := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		relations[c[7]] = c[0]
	}
	for table, state := range map[string]string{"one": "changed", "two": "added", "pg_class": "changed", "pg_am": ""} {
		if got := relations[s.SQL("SELECT pg_relation_filepath('"+table+"')")]; got != state {
			t.Errorf("%s: %q, want %q", table, got, state)
		}
	}
	if r.status != 1 {
		t.Errorf("diff: %s", r)
	}

	crc := filepath.Join(pgtest.TempDir(t), "crc")
	s.must("pg_basebackup", "-D", crc, "-c", "fast", "-d", s.ConnInfo())
	s.refuses(111, "its checksum is CRC32C", "manifest", "convert", "--from", "backup_manifest", crc+"/backup_manifest")
}

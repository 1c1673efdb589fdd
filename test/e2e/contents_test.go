package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A file that is cut off, or grows, in the middle of being read keeps the size
// that was announced, and WAL makes it right.
func TestFileChangesWhileCopied(t *testing.T) {
	changes := map[string][]string{
		"shrinks":   {"DELETE FROM big WHERE n > 10", "VACUUM big"},
		"grows":     {"INSERT INTO big SELECT n, repeat('y', 900) FROM generate_series(10001, 20000) n"},
		"rewritten": {"UPDATE big SET pad = repeat('z', 800) WHERE n % 7 = 0", "VACUUM FULL big"},
		"dropped":   {"CREATE TABLE copy AS TABLE big", "DROP TABLE big", "ALTER TABLE copy RENAME TO big", "CHECKPOINT"},
	}
	for name, statements := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, small)
			s.SQL("CREATE TABLE big AS SELECT n, repeat('x', 900) AS pad FROM generate_series(1, 10000) n; CHECKPOINT")
			path, size := s.SQL("SELECT pg_relation_filepath('big')"), s.SQL("SELECT pg_relation_size('big')")
			h := s.hold("b", 64<<10)
			for _, begun := members(t, h.file)[path]; !begun; _, begun = members(t, h.file)[path] {
				if h.read(256<<10) == 0 {
					t.Fatalf("%s is not in the stream", path)
				}
			}
			for _, statement := range statements {
				s.SQL(statement)
			}
			h.done()
			h.store("b")
			expect(t, "size in the stream", fmt.Sprint(members(t, h.file)[path]), size)
			const contents = "SELECT count(*), sum(hashtext(b::text)) FROM big b"
			want := s.SQL(contents)
			s.endAnySegment()
			s.nothingWaits()
			c := s.recovered(t, "--archive-mode", "off")
			expect(t, "contents", c.SQL(contents), want)
			c.Run("pg_amcheck", "--install-missing", "-d", "postgres", "-t", "big")
			c.Stop("fast")
			c.Run("pg_checksums", "--check", "-D", c.Data)
		})
	}
}

// What is in a stream, of an odd but legal cluster, and what is not.
func TestContentsOfStream(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE UNLOGGED TABLE unlogged AS SELECT generate_series(1, 1000) AS n")
	s.SQL("VACUUM unlogged")
	unlogged := s.SQL("SELECT pg_relation_filepath('unlogged')")
	s.Stop("fast")
	s.must("sh", "-euc", `cd "$1"
		mv pg_wal "$2/wal here" && ln -s "$2/wal here" pg_wal
		echo "work_mem = 5MB" > "$2/extra.conf" && ln -s "$2/extra.conf" extra.conf && echo "include 'extra.conf'" >> postgresql.conf
		mkfifo pipe; touch "odd $(printf '\303\050\n\\')name"; mkdir -p base/pgsql_tmp pgsql_tmp empty/dir; echo x > base/pgsql_tmp_x; echo x > global/pg_internal.init.7
		echo stale > backup_label.old; mkdir log; echo line > log/today; echo stale > tablespace_map.old`, "sh", s.Data, s.dir)
	s.Start()
	s.connect("CREATE TEMPORARY TABLE temporary AS SELECT generate_series(1, 1000)")
	temporary, _ := filepath.Glob(filepath.Join(s.Data, "base/*/t[0-9]*_[0-9]*"))
	s.SQL("SELECT pg_create_physical_replication_slot('slot', true)")
	h := s.hold("odd", 64<<10)
	h.done()
	h.store("odd")
	all := members(t, h.file)

	present := []string{unlogged + "_init", "pg_wal", "pg_replslot", "pg_notify", "empty/dir", "pgsql_tmp", "odd \xc3\x28\n\\name", "log/today",
		"backup_label", "global/pg_control", "backup_manifest", "PG_VERSION"}
	absent := []string{unlogged, unlogged + "_fsm", "postmaster.pid", "postmaster.opts", "extra.conf", "pipe",
		"base/pgsql_tmp", "base/pgsql_tmp_x", "backup_label.old", "tablespace_map.old", "global/pg_internal.init.7", "pg_replslot/slot", "pg_replslot/slot/state"}
	if len(temporary) == 0 {
		t.Error("no temporary relation to leave out")
	}
	for _, file := range temporary {
		absent = append(absent, strings.TrimPrefix(file, s.Data+"/"))
	}
	for _, name := range present {
		if _, found := all[name]; !found {
			t.Errorf("%q is not in the stream", name)
		}
	}
	for _, name := range absent {
		if _, found := all[name]; found {
			t.Errorf("%q is in the stream", name)
		}
	}
	for name := range all {
		if strings.HasPrefix(name, "pg_wal/0") {
			t.Errorf("%s is in the stream", name)
		}
	}
	for _, left := range []string{"extra.conf: left out", "pipe: left out"} {
		if !strings.Contains(h.stderr.String(), left) {
			t.Errorf("no %q in %s", left, h.stderr.String())
		}
	}
	t.Run("restore", func(t *testing.T) {
		c := s.restored(t, "--archive-mode", "off")
		info, err := os.Lstat(filepath.Join(c.Data, "pg_wal"))
		if err != nil || !info.IsDir() {
			t.Errorf("pg_wal: %v, %v", info, err)
		}
		s.must("sh", "-c", `echo "work_mem = 6MB" > "$1/extra.conf"`, "sh", c.Data)
		if !recovers(t, c) {
			t.Fatal(c.Log())
		}
		expect(t, "unlogged", c.SQL("SELECT count(*) FROM unlogged"), "0")
	})
}

// A page with a wrong checksum is found, named and reported.
func TestBadPage(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE victim AS SELECT n, repeat('x', 900) FROM generate_series(1, 100) n")
	path := s.SQL("SELECT pg_relation_filepath('victim')")
	s.Stop("fast")
	damage(t, filepath.Join(s.Data, path), 3*8192+5000)
	s.Start()
	want := regexp.MustCompile(fmt.Sprintf("bad-page\t3\t[0-9a-f]{4}/[0-9a-f]{4}\t[0-9a-f]{4}/[0-9a-f]{4}\t%s\n", path))
	copyOut := func(label string, options ...string) result {
		options = append([]string{"-D", s.Data, "-r", s.repo, "--fast", "--label", label, "-m", s.path(label)}, options...)
		cmd := s.Command("base-copy", options...)
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer null.Close()
		cmd.Stdout = null
		return finish(t, cmd)
	}
	for _, test := range []struct {
		label, option string
		status        int
	}{{"fail", "--bad-pages=fail", 1}, {"warn", "--bad-pages=warn", 0}} {
		r := copyOut(test.label, test.option)
		if r.status != test.status || !strings.Contains(r.err, path) {
			t.Errorf("%s: %s", test.option, r)
		}
		if header := s.must("manifest", "show", "--header", s.path(test.label)); !want.MatchString(header) {
			t.Errorf("%s: no %s in %s", test.option, want, header)
		}
	}
	s.refuses(1, path, "backup", "-r", s.repo, "-D", s.Data, "--fast", "--label", "script")
	if exists(s.inRepo("base/script/manifest")) {
		t.Error("it is listed all the same")
	}
}

// Nor is one excused because what has overwritten it looks like a late change.
func TestOverwrittenPage(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE victim AS SELECT n, repeat('x', 900) FROM generate_series(1, 100) n")
	s.SQL("CHECKPOINT")
	path := s.SQL("SELECT pg_relation_filepath('victim')")
	damage(t, filepath.Join(s.Data, path), 3*8192)
	want := path + ": block 3: wrong checksum"
	for label, source := range map[string]string{"own": "-D" + s.Data, "server": "--stream"} {
		for word, status := range map[string]string{"fail": "1", "warn": "0"} {
			label, m := label+word, s.path(label+word)
			r := s.run("sh", "-c", `base-copy "$1" -r "$2" --fast --label "$3" -m "$4" --bad-pages "$5" > /dev/null; [ $? = "$6" ]`,
				"sh", source, s.repo, label, m, word, status)
			if r.status != 0 || !strings.Contains(r.err, want) {
				t.Errorf("%s: %s", label, r)
			}
			if word == "warn" && !strings.Contains(s.must("manifest", "show", "--header", m), "bad-page\t3\t") {
				t.Errorf("%s: the manifest does not tell", label)
			}
		}
	}
}

func damage(t *testing.T, file string, at int64) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("damage"), at); err != nil {
		t.Fatal(err)
	}
}

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgpipes/test/pgtest"
)

// No copy without archiving: it is refused before a byte is copied, and leaves
// nothing behind.
func TestCopyWithoutArchiving(t *testing.T) {
	tests := map[string]struct{ conf, says string }{
		"archive_mode off":        {"archive_mode = off", "archive_mode is off"},
		"archive_command empty":   {"archive_command = ''", "archive_command is empty"},
		"archive_command failing": {"archive_command = 'false'", "has not arrived"},
		"archived elsewhere":      {"archive_command = 'true'", "has not arrived"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, small, test.conf)
			s.must("repo", "init", "-r", s.repo, "-D", s.Data)
			r := s.run("base-copy", "-D", s.Data, "-r", s.repo, "-m", s.path("m"), "--fast", "--archive-timeout", "1s")
			if r.status == 0 || !strings.Contains(r.err, test.says) || r.out != "" {
				t.Errorf("%d bytes of output, status %d: %s", len(r.out), r.status, r.err)
			}
			s.nothingLeft()
			s.noBackupRuns()
		})
	}
}

// A long queue before the segment that a copy waits for is no failure of the archive, as
// long as it gets shorter.
func TestCopyBehindAQueue(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.Configure(strings.Replace(archiveTo(t, s.repo), "'", "'sleep 0.4 && PGPIPES_AHEAD=0 ", 1))
	s.SQL("SELECT pg_reload_conf()")
	s.SQL("CREATE TABLE rows (n int)")
	s.row(0)
	for n := range 24 {
		s.SQL(fmt.Sprintf("INSERT INTO rows VALUES (%d)", n))
		s.SQL("SELECT pg_switch_wal()")
	}
	s.backup("behind", "--archive-timeout", "4s")
}

// Nor is it one that there are segments which were never to be archived.
func TestCopyAfterATimeWithoutArchiving(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE rows (n int)")
	s.row(0)
	s.Stop("fast")
	s.Configure("archive_mode = off")
	s.Start()
	for range 3 {
		s.SQL("INSERT INTO rows VALUES (1)")
		s.SQL("SELECT pg_switch_wal(); CHECKPOINT")
	}
	s.Stop("fast")
	s.Configure("archive_mode = on")
	s.Start()
	s.backup("after", "--archive-timeout", "5s")
}

// A server that was put back, as by a snapshot of its machine, writes other WAL under
// names that are in the repository: no backup comes of that, however it is made.
func TestCopyOfServerPutBack(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE rows (n int)")
	s.backup("before")
	s.Stop("fast")
	shell(t, "cp", "-a", s.Data, s.path("snapshot"))
	s.Start()
	for n := range 6 {
		s.row(n)
	}
	s.Stop("fast")
	shell(t, "rm", "-r", s.Data)
	shell(t, "mv", s.path("snapshot"), s.Data)
	s.Start()
	for _, from := range [][]string{{"-D", s.Data}, {"-D", s.Data, "--with-wal"}, {"--stream"}} {
		s.refuses(1, "is not what this server has written", "backup", append(from, "-r", s.repo, "--fast")...)
	}
	if left := s.must("repo", "ls", "-r", s.repo, "base/"); strings.Count(left, "/start\n") != 1 {
		t.Errorf("in the repository:\n%s", left)
	}
}

// A copy of the server that runs beside it, and comes to be ahead of it only while it is
// copied, is found out at the end.
func TestCopyOvertaken(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE rows (n int)")
	s.backup("before")
	s.Stop("fast")
	copied := s.path("copied")
	shell(t, "cp", "-a", s.Data, copied)
	s.Start()
	h := s.hold("overtaken", 64<<10)
	other := s.with(pgtest.Attach(t, copied))
	other.Configure("archive_mode = off")
	other.Start()
	for n := range 6 {
		last := other.SQL("SELECT pg_walfile_name(pg_current_wal_lsn())")
		other.SQL(fmt.Sprintf("INSERT INTO rows VALUES (%d)", n))
		other.SQL("SELECT pg_switch_wal()")
		if !exists(s.segmentFile(last)) {
			s.must("wal-push", "-r", s.repo, filepath.Join(copied, "pg_wal", last))
		}
	}
	if r := h.end(); r.status != 1 || !strings.Contains(r.err, "is not what this server has written") {
		t.Errorf("base-copy: %s", r)
	}
}

// nothingLeft makes sure that a failed copy left neither manifest nor mark.
func (s *site) nothingLeft() {
	s.t.Helper()
	if exists(s.path("m")) {
		s.t.Error("there is a manifest")
	}
	expect(s.t, "in the repository", s.must("repo", "ls", "-r", s.repo, "base/"), "")
}

// noBackupRuns waits until the server has forgotten a backup: only its session
// knows of it.
func (s *site) noBackupRuns() {
	s.t.Helper()
	s.Until("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()", "0")
}

// At the end a copy waits for its WAL, and its stream is not complete before.
func TestCopyWaitsForItsWAL(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.Configure(strings.Replace(archiveTo(t, s.repo), "'", "'test ! -e "+s.path("hold")+" && ", 1))
	s.SQL("SELECT pg_reload_conf()")
	s.must("repo", "init", "-r", s.repo, "-D", s.Data)
	t.Run("in vain", func(t *testing.T) {
		h := s.hold("vain", 64<<10, "--archive-timeout", "1s")
		s.must("touch", s.path("hold"))
		if r := h.end(); r.status != 111 || !strings.Contains(r.err, "has not arrived within 1s (archive_command failed for") {
			t.Errorf("base-copy: %s", r)
		}
		h.incomplete()
		expect(t, "in the repository", s.must("repo", "ls", "-r", s.repo, "base/"), "")
		s.must("rm", s.path("hold"))
		s.catchUp()
	})
	t.Run("until it comes", func(t *testing.T) {
		h := s.hold("late", 64<<10)
		s.must("touch", s.path("hold"))
		ended := make(chan result)
		go func() { ended <- h.end() }()
		before := s.SQL("SELECT failed_count FROM pg_stat_archiver")
		s.Until("SELECT failed_count > "+before+" FROM pg_stat_archiver", "t")
		h.incomplete()
		s.must("rm", s.path("hold"))
		s.catchUp()
		if r := <-ended; r.status != 0 {
			t.Fatal(r)
		}
		h.store("late")
		s.must("manifest", "verify", "-r", s.repo, "late")
	})
}

// incomplete makes sure that what has been read of a stream cannot be taken
// for a backup, and that there is no manifest.
func (h *heldCopy) incomplete() {
	h.site.t.Helper()
	all := members(h.site.t, h.file)
	for _, name := range []string{"global/pg_control", "backup_manifest", "backup_label"} {
		if _, found := all[name]; found {
			h.site.t.Errorf("%s is in the stream", name)
		}
	}
	if exists(h.manifest) {
		h.site.t.Error("there is a manifest")
	}
}

// A data directory that is not the server's is refused.
func TestCopyOfWrongDirectory(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	other := newCluster(t, shape{checksums: true, segmentMB: 1, serial: 1})
	clone := newCluster(t, small)
	for _, dir := range []string{other.Data, clone.Data} {
		s.refuses(100, "not the data directory of this server", "base-copy", "-D", dir)
	}
	s.refuses(111, "no such file", "base-copy", "-D", s.path("nowhere"))
	s.must("repo", "init", "-r", s.path("other"), "-D", other.Data)
	s.refuses(100, "another cluster", "base-copy", "-D", s.Data, "-r", s.path("other"))
}

// A role that is no superuser but may call the two functions can take backups,
// whatever settings were put upon it; one that may not is told so.
func TestCopyAsPlainRole(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL(`CREATE ROLE operator LOGIN;
		CREATE SCHEMA trap;
		CREATE FUNCTION trap.pg_backup_start(text, boolean) RETURNS pg_lsn LANGUAGE sql AS $$ SELECT '0/0'::pg_lsn $$;
		CREATE FUNCTION trap.current_setting(text) RETURNS text LANGUAGE sql AS $$ SELECT 'trapped'::text $$;
		GRANT USAGE ON SCHEMA trap TO operator`)
	for _, setting := range []string{
		"search_path = trap, pg_catalog", "statement_timeout = '1s'", "idle_session_timeout = '500ms'", "lock_timeout = '1ms'",
		"datestyle = 'German'", "timezone = 'Asia/Kathmandu'", "client_encoding = 'LATIN1'", "standard_conforming_strings = off", "bytea_output = 'escape'",
		"default_transaction_read_only = on", "default_transaction_isolation = 'serializable'", "extra_float_digits = -15", "intervalstyle = 'iso_8601'",
	} {
		s.SQL("ALTER ROLE operator SET " + setting)
	}
	as := "user=operator dbname=postgres"
	s.refuses(111, "permission denied for function pg_backup_start", "base-copy", "-D", s.Data, "-d", as)
	s.SQL("GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean), pg_backup_stop(boolean) TO operator")
	// It may not see where the server's directory is. One of a standby has all in
	// common with it but the latest checkpoint.
	s.must("sh", "-c", `mkdir -p "$2/global" "$2/pg_tblspc" && cd "$1" && cp PG_VERSION postmaster.pid "$2" && cp global/pg_control "$2/global"`,
		"sh", s.Data, s.path("standby"))
	s.refuses(100, "its last checkpoint is at", "base-copy", "-D", s.path("standby"), "-d", as)

	h := s.hold("plain", 64<<10, "-d", as)
	time.Sleep(1200 * time.Millisecond) // longer than every time-out of the role
	h.done()
	h.store("plain")
	s.must("manifest", "verify", "-r", s.repo, "plain")
}

// Two copies at once do not disturb one another.
func TestTwoCopiesAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, shape{checksums: false, segmentMB: 1})
	s.SQL("CREATE TABLE rows (n int)")
	first := s.hold("first", 64<<10)
	s.row(1)
	second := s.hold("second", 64<<10)
	s.row(2)
	first.done()
	s.row(3)
	second.done()
	first.store("first")
	second.store("second")
	for _, label := range []string{"first", "second"} {
		c := s.recovered(t, "--backup", label, "--archive-mode", "off")
		expect(t, "rows of "+label, c.SQL(allRows), "1,2,3")
	}
}

// Those of one second are named by it and by the next ones.
func TestCopiesOfOneSecond(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.must("sh", "-euc", `
		store='repo put -r "$STORE" "base/$LABEL/$PART.tar"'
		copy() { STORE=$2 base-copy -D "$1" -r "$2" --fast -m "$3/m$4" --filter "$store"; }
		for i in 1 2 3 4; do copy "$@" $i & pids="${pids:-} $!"; done
		for pid in $pids; do wait $pid; done
		for i in 1 2 3 4; do
			label=$(sed -n 's/^label\t//p' "$3/m$i")
			repo put -r "$2" "base/$label/manifest" <"$3/m$i"
		done`, "sh", s.Data, s.repo, s.dir)
	expect(t, "backups", itoa(len(strings.Fields(s.listed()))), "4")
	s.must("manifest", "verify", "-r", s.repo)
}

// A directory of the cluster that lies behind a link is not left out silently.
func TestCopyOfLinkedDirectory(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.Stop("fast")
	s.must("sh", "-c", `mv "$1/pg_xact" "$2" && ln -s "$2" "$1/pg_xact"`, "sh", s.Data, s.path("elsewhere"))
	s.Start()
	s.refuses(111, "pg_xact: a directory of the cluster behind a link\nbase-copy: hint: --follow-links", "base-copy", "-D", s.Data, "-r", s.repo)
	expect(t, "in the repository", s.must("repo", "ls", "-r", s.repo, "base/"), "")
}

// Nor is one deeper in it: that of a database, or of a tablespace.
func TestCopyOfLinkedDatabase(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.must("mkdir", s.path("space"))
	s.SQL("CREATE TABLESPACE space LOCATION '" + s.path("space") + "'")
	s.SQL("CREATE TABLE rows TABLESPACE space AS SELECT 1 AS n")
	database := "base/" + s.SQL("SELECT oid FROM pg_database WHERE datname = 'postgres'")
	space := "pg_tblspc/" + s.SQL("SELECT oid FROM pg_tablespace WHERE spcname = 'space'") + "/" + s.SQL(
		"SELECT pg_ls_dir('pg_tblspc/' || oid) FROM pg_tablespace WHERE spcname = 'space'")
	table := s.SQL("SELECT pg_relation_filepath('rows')")
	for name, what := range map[string]string{database: "a directory", space: "a directory", table: "a part"} {
		s.Stop("fast")
		s.must("sh", "-euc", `mv "$1" "$2" && ln -s "$2" "$1"`, "sh", filepath.Join(s.Data, name), s.path("elsewhere"))
		s.Start()
		s.refuses(111, name+": "+what+" of the cluster behind a link", "base-copy", "-D", s.Data, "-r", s.repo)
		s.must("sh", "-euc", `base-copy -D "$1" -r "$2" --fast --follow-links | tar -t | grep -q "^$3."`, "sh", s.Data, s.repo, filepath.Dir(table))
		s.Stop("fast")
		s.must("sh", "-euc", `rm "$1" && mv "$2" "$1"`, "sh", filepath.Join(s.Data, name), s.path("elsewhere"))
		s.Start()
	}
}

// The group of a cluster that lets it in may read what was restored, too.
func TestCopyWithGroupAccess(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.Stop("fast")
	s.must("chmod", "-R", "g+rX", s.Data)
	s.Start()
	for label, how := range map[string]string{"read": "-D" + s.Data, "sent": "--stream"} {
		s.must("sh", "-euc", `base-copy "$1" -r "$2" --label "$4" --fast -m "$3/m" > "$3/tar"
			base-restore -D "$3/data" -m "$3/m" < "$3/tar"`, "sh", how, s.repo, s.dir, label)
		for _, name := range []string{"global/pg_control", "backup_label", "PG_VERSION"} {
			expect(t, how+": mode of "+name, strings.TrimSpace(s.must("stat", "-c", "%a", s.path("data/"+name))), "640")
		}
		s.must("rm", "-r", s.path("data"))
	}
}

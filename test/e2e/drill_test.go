package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgpipes/test/pgtest"
)

// A drilled is a site with two backups, rows after each that came one a segment,
// and a tablespace.
type drilled struct {
	*site
	segments [4]string // they end with rows 1 to 4; the second backup is between 2 and 3
}

// alone is the shape of clusters that have no twins: drill looks for live servers
// with the system identifier.
func alone(serial int) shape { return shape{checksums: true, segmentMB: 1, serial: serial} }

func newDrilled(t *testing.T) drilled {
	t.Helper()
	d := drilled{site: hereSite(t, alone(2))}
	d.lean()
	d.must("mkdir", d.path("space"))
	d.SQL("CREATE TABLESPACE space LOCATION '" + d.path("space") + "'")
	d.SQL("CREATE TABLE rows (n int PRIMARY KEY)")
	d.SQL("CREATE TABLE elsewhere TABLESPACE space AS SELECT generate_series(1, 1000) AS n")
	for i := range d.segments {
		switch i {
		case 0:
			d.backup("first")
		case 2:
			ended := time.Now().Truncate(time.Second)
			eventually(t, "another second", func() bool { return time.Now().Truncate(time.Second).After(ended) })
			d.backup("second")
		}
		d.segments[i] = d.row(i + 1)
	}
	d.nothingWaits()
	return d
}

// in is the site in a subtest, with a repository, and a place for what comes and
// goes, of its own.
func (d drilled) in(t *testing.T) drilled {
	t.Helper()
	dir := pgtest.TempDir(t)
	own := &site{Cluster: d.Cluster, t: t, dir: dir}
	own.use(own.path("repo"))
	shell(t, "cp", "-a", d.repo, own.repo)
	return drilled{own, d.segments}
}

// drill runs one that has to end with this status and say this, to clean up, and
// to leave the archive alone. It returns what it has recorded.
func (d drilled) drill(status int, saying, program string, options ...string) map[string]string {
	d.t.Helper()
	before := d.must("repo", "ls", "-r", d.repo, "wal/")
	d.refuses(status, saying, program, append([]string{"-r", d.repo}, options...)...)
	d.isClean()
	expect(d.t, "archive", d.must("repo", "ls", "-r", d.repo, "wal/"), before)
	expect(d.t, "restores under way", d.must("repo", "ls", "-r", d.repo, "restore/"), "")
	return d.record()
}

// isClean makes sure that neither files nor processes are left.
func (d drilled) isClean() {
	d.t.Helper()
	left, err := filepath.Glob(d.path("pgpipes-*"))
	if err != nil || len(left) > 0 {
		d.t.Errorf("left behind: %q, %v", left, err)
	}
	list, _ := filepath.Glob("/proc/[0-9]*")
	for _, process := range list {
		cwd, _ := os.Readlink(filepath.Join(process, "cwd"))
		command, _ := os.ReadFile(filepath.Join(process, "cmdline"))
		if strings.HasPrefix(cwd, d.dir) || strings.Contains(string(command), "--state="+d.dir) {
			d.t.Errorf("still running: %q in %s", command, cwd)
		}
	}
}

// record is the newest one.
func (d drilled) record() map[string]string {
	d.t.Helper()
	keys := strings.Fields(d.must("repo", "ls", "-r", d.repo, "drill/"))
	if len(keys) == 0 {
		return nil
	}
	values := map[string]string{}
	for line := range strings.Lines(d.must("repo", "get", "-r", d.repo, keys[len(keys)-1])) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		values[key] = value
	}
	return values
}

func TestDrill(t *testing.T) {
	t.Parallel()
	whole := newDrilled(t)
	run := func(name string, test func(t *testing.T, d drilled)) {
		t.Run(name, func(t *testing.T) { t.Parallel(); test(t, whole.in(t)) })
	}
	run("all is good", drillNewest)
	run("random", drillRandom)
	run("another of that second", drillOfOneSecond)
	run("no postgresql.conf", drillWithoutConf)
	run("what cannot begin", drillRefuses)
	run("queries", drillQueries)
	run("corrupt page", drillCorruptPage)
	run("WAL damaged inside", drillEndsEarly)
	run("WAL cannot be read", drillStops)
	run("WAL of wal_level=minimal", drillPassesMinimal)
	run("part damaged", drillOfDamagedBackup)
	run("keep", drillKeeps)
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		run("killed by "+signal.String(), func(t *testing.T, d drilled) { drillKilled(t, d, signal) })
	}
}

// It takes the newest backup, recovers it all, shut off from the world, and the
// record says so.
func drillNewest(t *testing.T, d drilled) {
	values := d.drill(0, "", "drill", "--heapallindexed", "--query", "SELECT * FROM rows",
		"--assert", "SELECT array_agg(n) = '{1,2,3,4}' FROM rows", "--assert", "SELECT count(*) = 1000 FROM elsewhere",
		"--assert", "SELECT current_setting('archive_mode') = 'off' AND current_setting('listen_addresses') = '' AND current_setting('work_mem') = '5MB'",
		"--setting", "work_mem=5MB", "--check-command", `[ "$(psql -XAtc 'SELECT current_user')" = postgres ]`)
	for key, want := range map[string]string{
		"kind": "drill", "result": "ok", "step": "", "reason": "", "backup": "second", "target": "latest", "amcheck": "ok",
		"postgresql": itoa(d.Major()), "bytes": regexp.MustCompile(`(?m)^bytes\t(.*)$`).FindStringSubmatch(d.must("manifest", "show", "--header", "-r", d.repo, "second"))[1],
	} {
		expect(t, key, values[key], want)
	}
	for key, form := range map[string]string{
		"pgpipes-record": `1`, "host": `.+`, "restore-seconds": `\d+\.\d`, "recovery-seconds": `\d+\.\d`, "check-seconds": `\d+\.\d`,
		"total-seconds": `\d+\.\d`, "wal-end": `[0-9A-F]+/[0-9A-F]+`, "commit-time": `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`,
	} {
		if !regexp.MustCompile(`^` + form + `$`).MatchString(values[key]) {
			t.Errorf("%s: %q", key, values[key])
		}
	}
}

// In time each backup is tried, and only those that reach the target.
func drillRandom(t *testing.T, d drilled) {
	fake := withFake(t, "shuf", `for file; do :; done; tail -n 1 "$file" >"$file.last"; mv "$file.last" "$file"`)
	values := d.drill(0, "", filepath.Join(fake, "drill"), "--random", "--amcheck", "off", "--no-record")
	if values != nil {
		t.Errorf("recorded: %v", values)
	}
	values = d.drill(0, "", filepath.Join(fake, "drill"), "--random", "--to", "immediate", "--amcheck", "off",
		"--assert", "SELECT count(*) = 0 FROM rows")
	expect(t, "backup", values["backup"], "first")
	expect(t, "amcheck", values["amcheck"], "off")
}

// Hosts that begin by the clock begin at once; each leaves a record.
func drillOfOneSecond(t *testing.T, d drilled) {
	d.must("sh", "-c", `echo other | repo put -r "$1" drill/20260921T141320Z`, "sh", d.repo)
	fake := withFake(t, "date", `[ "$1" != +%s.%N ] || set -- -d @1790000000 "$1"; PATH=${PATH#*:} exec date "$@"`)
	values := d.drill(0, "", filepath.Join(fake, "drill"), "--amcheck", "off")
	expect(t, "result", values["result"], "ok")
	expect(t, "records", d.must("repo", "ls", "-r", d.repo, "drill/"), "drill/20260921T141320Z\ndrill/20260921T141321Z\n")
}

// Debian keeps the settings elsewhere; the server needs as much as the original.
func drillWithoutConf(t *testing.T, d drilled) {
	fake := withFake(t, "restore", `REAL "$@" && rm "$4/postgresql.conf" "$4/pg_hba.conf"`)
	d.drill(0, "", filepath.Join(fake, "drill"), "--amcheck", "off", "--assert", "SELECT current_setting('max_connections') = '20'")
}

// What cannot begin is no drill, and is not recorded.
func drillRefuses(t *testing.T, d drilled) {
	other := d.path("bin")
	d.must("sh", "-euc", `mkdir "$1"; printf '#!/bin/sh\necho "postgres (PostgreSQL) 99.1"\n' >"$1/postgres"; chmod +x "$1/postgres"`, "sh", other)
	full := withFake(t, "df", "printf 'Avail\\n1000\\n'")
	for _, test := range []struct {
		says, program string
		status        int
		options       []string
	}{
		{"it is PostgreSQL 99, and the backup second is of " + itoa(d.Major()), "drill", 100, []string{"--bindir", other}},
		{"no PostgreSQL there", "drill", 100, []string{"--bindir", d.dir}},
		{"too little room: 0 MB are free, and second needs ", filepath.Join(full, "drill"), 111, nil},
		{"nonesuch", "drill", 1, []string{"--backup", "nonesuch"}},
		{"not both", "drill", 100, []string{"--backup", "first", "--random"}},
		{"no such directory", "drill", 100, []string{"--scratch", d.path("nowhere")}},
		{"too long a path", "drill", 100, []string{"--scratch", d.deep()}},
		{"not a setting", "drill", 100, []string{"--setting", "work_mem"}},
	} {
		if values := d.drill(test.status, test.says, test.program, test.options...); values != nil {
			t.Errorf("%s: recorded: %v", test.says, values)
		}
	}
	values := d.drill(1, "no backup can be recovered to lsn=FF/0", "drill", "--to", "lsn=FF/0")
	expect(t, "result", values["result"]+" "+values["step"], "failed choose")
}

// deep is a directory with a path that no socket can have.
func (d drilled) deep() string {
	dir := d.path(strings.Repeat("x", 60))
	d.must("mkdir", dir)
	return dir
}

// A query must not fail, an assertion must hold, a command must succeed.
func drillQueries(t *testing.T, d drilled) {
	for _, test := range []struct{ option, text, says string }{
		{"--query", "SELECT * FROM nonesuch", `relation "nonesuch" does not exist`},
		{"--assert", "SELECT count(*) > 4 FROM rows", "it returns 'f', not t"},
		{"--assert", "SELECT true FROM rows WHERE n > 4", "it returns '', not t"},
		{"--check-command", "exit 7", "status 7"},
	} {
		values := d.drill(1, test.says, "drill", "--amcheck", "off", "--backup", "second", "--query", "SELECT 1", test.option, test.text)
		expect(t, "result", values["result"]+" "+values["step"], "failed check")
		if !strings.Contains(values["reason"], test.text) || !strings.Contains(values["reason"], test.says) {
			t.Errorf("reason: %s", values["reason"])
		}
		d.must("repo", "rm", "-r", d.repo, strings.TrimSpace(d.must("repo", "ls", "-r", d.repo, "drill/")))
	}
}

// A page that nobody reads in passing is found by pg_amcheck.
func drillCorruptPage(t *testing.T, d drilled) {
	file := d.SQL("SELECT pg_relation_filepath('rows_pkey')")
	fake := withFake(t, "restore", fmt.Sprintf(`REAL "$@" && printf corrupt | dd of="$4/%s" bs=1 seek=4000 conv=notrunc status=none`, file))
	drill := filepath.Join(fake, "drill")
	values := d.drill(1, "invalid page", drill, "--backup", "second", "--setting", "full_page_writes=on")
	expect(t, "result", values["result"]+" "+values["step"]+" "+values["amcheck"], "failed amcheck failed")

	bare := d.path("bare")
	d.must("sh", "-euc", `mkdir "$1"; ln -s "$2"/* "$1"; rm "$1/pg_amcheck"`, "sh", bare, filepath.Dir(d.Run("sh", "-c", "command -v postgres")))
	values = d.drill(1, "has no pg_amcheck", "drill", "--amcheck", "require", "--bindir", bare)
	expect(t, "result", values["result"]+" "+values["step"], "failed amcheck")
	values = d.drill(0, "pages are not checked: ", "drill", "--bindir", bare)
	expect(t, "amcheck", values["amcheck"], "not run: "+bare+" has no pg_amcheck")
}

// The server takes a record that it cannot read for the end, and says nothing.
func drillEndsEarly(t *testing.T, d drilled) {
	rewrite(t, d.segmentFile(d.segments[2]), func(b []byte) { b[60] ^= 0xff })
	values := d.drill(1, "before the archive's last segment, "+d.segments[3], "drill")
	expect(t, "result", values["result"]+" "+values["step"], "failed recovery")
}

// Where the server itself stops, the end of its log is shown.
func drillStops(t *testing.T, d drilled) {
	rot(t, d.segmentFile(d.segments[3]))
	values := d.drill(1, "damaged", "drill", "--backup", "first")
	expect(t, "result", values["result"]+" "+values["step"], "failed recovery")
	if !strings.Contains(values["reason"], "from archive") {
		t.Errorf("reason: %s", values["reason"])
	}
}

// A server before 14 only warns of what was not logged, and goes on.
func drillPassesMinimal(t *testing.T, d drilled) {
	warning := `WARNING:  WAL was generated with wal_level=minimal, data may be missing`
	warns := d.path("warns")
	d.must("sh", "-euc", `mkdir "$1"; ln -s "$2"/* "$1"; rm "$1/postgres"
		printf '#!/bin/sh\necho "%s" >&2\nexec "%s" "$@"\n' "$3" "$2/postgres" >"$1/postgres"; chmod +x "$1/postgres"`,
		"sh", warns, filepath.Dir(d.Run("sh", "-c", "command -v postgres")), warning)
	values := d.drill(1, "data may be missing", "drill", "--bindir", warns)
	expect(t, "result", values["result"]+" "+values["step"], "failed recovery")
}

func drillOfDamagedBackup(t *testing.T, d drilled) {
	rot(t, filepath.Join(d.repo, "base/second/000.tar.zst"))
	r := d.run("drill", "-r", d.repo)
	if r.status != 1 && r.status != 111 {
		t.Errorf("drill: %s", r)
	}
	d.isClean()
	values := d.record()
	expect(t, "result", values["result"]+" "+values["step"], "failed restore")
}

// A copy that is kept can be started as the drill did.
func drillKeeps(t *testing.T, d drilled) {
	r := d.run("drill", "-r", d.repo, "--keep", "--amcheck", "off")
	kept, err := filepath.Glob(d.path("pgpipes-drill.*"))
	if r.status != 0 || err != nil || len(kept) != 1 || !strings.Contains(r.err, "the copy is kept in "+kept[0]) {
		t.Fatalf("drill: %s\nkept: %q, %v", r, kept, err)
	}
	cmd := d.Command(filepath.Join(kept[0], "start"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "rows in the copy", func() bool {
		r := d.run("psql", "-XAtq", "-h", filepath.Join(kept[0], "socket"), "-p", "5432", "-c", "SELECT count(*), current_setting('archive_mode') FROM rows")
		return r.out == "4|off\n"
	})
	if d.must("repo", "ls", "-r", d.repo, "restore/") == "" {
		t.Error("expire may remove what the copy needs")
	}
	cmd.Process.Signal(syscall.SIGQUIT)
	cmd.Wait()
	d.must("rm", "-r", kept[0])
	d.isClean()
}

// Whenever a drill is killed it takes everything with it, and says nothing about
// the backup.
func drillKilled(t *testing.T, d drilled, signal syscall.Signal) {
	reached := d.path("reached")
	block := fmt.Sprintf("touch '%s'; exec sleep 1000", reached)
	for step, words := range map[string][]string{
		"restore":  {filepath.Join(withFake(t, "restore", `mkdir "$4"; `+block), "drill")},
		"recovery": {filepath.Join(withFake(t, "wal-get", block), "drill")},
		"check":    {"drill", "--amcheck", "off", "--check-command", block},
	} {
		cmd := d.Command(words[0], append([]string{"-r", d.repo}, words[1:]...)...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, step, func() bool { return exists(reached) })
		cmd.Process.Signal(signal)
		cmd.Wait()
		expect(t, "status", itoa(statusOf(cmd.ProcessState)), itoa(128+int(signal)))
		expect(t, "restores under way", d.must("repo", "ls", "-r", d.repo, "restore/"), "")
		d.isClean()
		d.must("rm", reached)
	}
	if values := d.record(); values != nil {
		t.Errorf("recorded: %v", values)
	}
}

// Recovery would make a tablespace that is younger than the backup again in its
// place, where the live server has it.
func TestDrillSparesTheLiveServer(t *testing.T) {
	t.Parallel()
	s := newSite(t, alone(3))
	d := drilled{site: s}
	s.backup("b")
	s.must("mkdir", s.path("space"))
	s.SQL("CREATE TABLESPACE space LOCATION '" + s.path("space") + "'")
	s.SQL("CREATE TABLE rows TABLESPACE space AS SELECT generate_series(1, 1000) AS n")
	s.catchUp()
	if values := d.drill(111, "is younger than b: recovery would make it again in its place", "drill"); values != nil {
		t.Errorf("recorded: %v", values)
	}
	s.SQL("CHECKPOINT")
	expect(t, "rows", s.SQL("SELECT count(*) FROM rows"), "1000")
}

// The archive's end is where it is: at a switch of timelines behind which nothing
// has been archived yet, or in the middle of a record of several segments.
func TestDrillToOddEnds(t *testing.T) {
	t.Parallel()
	s := newSite(t, alone(4))
	d := drilled{site: s}
	d.lean()
	s.SQL("CREATE TABLE rows (n int)")
	s.backup("b")
	s.row(1)
	s.Stop("fast")
	s.must("touch", filepath.Join(s.Data, "recovery.signal"))
	s.Configure(restoreFrom(t, s.repo))
	if !recovers(t, s.Cluster) {
		t.Fatal(s.Log())
	}
	eventually(t, "the history in the repository", func() bool { return exists(s.inRepo("wal/history/00000002.history")) })
	s.nothingWaits()
	expect(t, "segments", s.must("repo", "ls", "-r", s.repo, "wal/00000002"), "")
	d.drill(0, "", "drill", "--amcheck", "off", "--no-record", "--assert", "SELECT array_agg(n) = '{1}' FROM rows")

	s.row(2)
	s.SQL("SELECT pg_logical_emit_message(false, 'e2e', repeat('x', 5 * 1024 * 1024))")
	s.endAnySegment()
	s.nothingWaits()
	segments := strings.Fields(s.must("repo", "ls", "-r", s.repo, "wal/00000002"))
	for _, key := range segments[len(segments)-3:] {
		s.must("rm", s.inRepo(key))
	}
	values := d.drill(0, "", "drill", "--amcheck", "off", "--assert", "SELECT array_agg(n) = '{1,2}' FROM rows")
	expect(t, "result", values["result"], "ok")

	rewrite(t, s.inRepo(segments[0]), func(b []byte) { b[60] ^= 0xff })
	d.drill(1, "before the archive's last segment", "drill", "--amcheck", "off", "--no-record")
}

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgpipes/lib/durable"
	"pgpipes/lib/wal"
	"pgpipes/test/pgtest"
	"pgpipes/test/slowfs"
)

// A farSite is a site whose repository is far away. What is in it is looked at
// from behind.
type farSite struct {
	*site
	back string // the repository without the way there
}

// newFarSite makes a site whose repository is below the directory dir, which is
// back without the way there. The command has these options.
func newFarSite(t *testing.T, dir, back, options string) farSite {
	t.Helper()
	s := &site{t: t, dir: pgtest.TempDir(t)}
	s.use(filepath.Join(dir, "main"))
	command := fmt.Sprintf("archive_command = '%s/wal-push --state %s %s -r %s %%p'", programs(t), s.path("state"), options, s.repo)
	s.Cluster = newCluster(t, small, "archive_mode = on", "max_wal_size = 1GB", command)
	s.Start()
	return farSite{s, filepath.Join(back, "main")}
}

// sixteenth fills a sixteenth of a segment at once.
const sixteenth = "SELECT pg_logical_emit_message(true, 'filler', repeat(md5(random()::text), 2048));"

// load runs pgbench, which writes some segments a second, until so many more are
// written, or until something else is so, if that is not nil.
func (s farSite) load(segments int, orElse func() bool) {
	s.t.Helper()
	if err := os.WriteFile(s.path("load"), []byte(sixteenth), 0o644); err != nil {
		s.t.Fatal(err)
	}
	written := s.written()
	cmd := s.Command("pgbench", "-n", "-c", "2", "-T", "600", "-R", "100", "-b", "tpcb-like@1", "-f", s.path("load")+"@1")
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	defer func() { cmd.Process.Signal(syscall.SIGTERM); cmd.Wait() }()
	eventually(s.t, itoa(segments)+" segments of WAL", func() bool {
		return s.written() >= written+segments || orElse != nil && orElse()
	})
}

// segmentSize is that of small clusters.
const segmentSize wal.SegmentSize = 1 << 20

// written is how many segments were ended since initdb.
func (s farSite) written() (n int) {
	s.t.Helper()
	fmt.Sscan(s.SQL(fmt.Sprintf("SELECT div(pg_current_wal_lsn() - '0/0', %d)", segmentSize)), &n)
	return n
}

// waiting are the segments that wait to be archived.
func (s farSite) waiting() []string {
	ready, _ := filepath.Glob(filepath.Join(s.Data, "pg_wal/archive_status/*.ready"))
	return ready
}

// settle ends a segment and waits until all are archived. The archiver, which
// rests for a minute after three failures, is woken again and again.
func (s farSite) settle() {
	s.t.Helper()
	s.endAnySegment()
	woken := time.Now()
	eventually(s.t, "no more .ready", func() bool {
		if time.Since(woken) > time.Second {
			s.SQL("SELECT pg_reload_conf()")
			woken = time.Now()
		}
		return len(s.waiting()) == 0
	})
}

// complete checks that the archive has every segment from the first to the
// last, and that nothing unfinished is left where removing cannot fail.
func (s farSite) complete(clean bool) {
	s.t.Helper()
	var there []uint64
	err := filepath.WalkDir(s.back, func(path string, _ os.DirEntry, err error) error {
		base := filepath.Base(path)
		if clean && strings.HasPrefix(base, durable.TemporaryPrefix) {
			s.t.Errorf("%s: left behind", path)
		}
		plain, _, _ := strings.Cut(base, ".")
		if n, err := wal.ParseName(plain); err == nil && n.Kind == wal.Segment {
			number, _ := segmentSize.Split(n)
			there = append(there, number)
		}
		return err
	})
	if err != nil {
		s.t.Error(err)
	}
	last := uint64(s.written())
	for number := slices.Min(there); number < last; number++ {
		if !slices.Contains(there, number) {
			s.t.Errorf("%s: not in the repository", segmentSize.Name(1, number))
		}
	}
}

// comesBack restores the backup with all the WAL and compares.
func (s farSite) comesBack() {
	s.t.Helper()
	want := s.SQL(digest)
	s.settle()
	near := &site{Cluster: s.Cluster, t: s.t, dir: s.dir, repo: s.back, local: s.back}
	c := near.recovered(s.t, "--archive-mode", "off", "--tablespace", near.tablespaceOID("b")+"="+spaceFor(s.t))
	expect(s.t, "contents", c.SQL(digest), want)
	expect(s.t, "balanced", c.SQL(balanced), "t")
}

// However far the repository is, archiving keeps going and catches up by itself,
// and all that was written comes back.
func TestArchivingToFarRepository(t *testing.T) {
	t.Parallel()
	f := slowfs.Mount(t, pgtest.TempDir(t))
	s := newFarSite(t, f.Dir, f.Back, "")
	s.populate()
	s.backup("b")
	for _, latency := range []time.Duration{0, 20 * time.Millisecond, 100 * time.Millisecond} {
		f.Set(slowfs.Weather{Latency: latency})
		trips := f.Trips()
		s.load(12, nil)
		begin, behind := time.Now(), len(s.waiting())
		s.settle()
		t.Logf("%v away: %d segments behind after the load, caught up in %v, %d round trips in all",
			latency, behind, time.Since(begin).Round(time.Millisecond), f.Trips()-trips)
	}
	expect(t, "failed", s.SQL("SELECT failed_count FROM pg_stat_archiver"), "0")
	f.Set(slowfs.Weather{})
	s.complete(true)
	s.comesBack()
}

// Nor is anything lost where some requests fail, and where the repository goes
// away under load, in whatever manner.
func TestArchivingToFlakyRepository(t *testing.T) {
	t.Parallel()
	f := slowfs.Mount(t, pgtest.TempDir(t))
	s := newFarSite(t, f.Dir, f.Back, "")
	s.populate()
	s.backup("b")
	flaky := slowfs.Weather{Latency: 5 * time.Millisecond, Failures: 0.02, Seed: 1}
	f.Set(flaky)
	s.load(12, nil)
	for _, away := range []syscall.Errno{syscall.ENOTCONN, syscall.ENOENT, syscall.EIO} {
		f.Set(slowfs.Weather{Away: away})
		outage := strings.Count(s.Log(), "archive command failed")
		s.load(1000, func() bool { return strings.Count(s.Log(), "archive command failed") > outage })
		f.Set(flaky)
		s.load(4, nil)
	}
	begin, behind := time.Now(), len(s.waiting())
	s.settle()
	t.Logf("%d segments behind after the load, caught up in %v; %d requests failed", behind, time.Since(begin).Round(time.Millisecond), f.Failed())
	expect(t, "failures seen", s.SQL("SELECT failed_count >= 3 FROM pg_stat_archiver"), "t")
	f.Set(slowfs.Weather{})
	s.complete(false)
	s.comesBack()
}

// A repository that fills up fails honestly, and leaves nothing by halves. The
// server goes on, and archiving with it once there is room.
func TestArchivingToFullDisk(t *testing.T) {
	tests := map[string]func(t *testing.T, disk string) (dir string){
		"disk":                       func(_ *testing.T, disk string) string { return disk },
		"disk without unnamed files": func(t *testing.T, disk string) string { return slowfs.Mount(t, disk).Dir },
	}
	for name, reach := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := slowfs.MountDisk(t, 64)
			s := newFarSite(t, reach(t, d.Dir), d.Dir, "-c none")
			s.populate()
			s.backup("b")
			s.SQL("CREATE TABLE filler AS SELECT n, repeat('f', 900) FROM generate_series(1, 30000) n")
			s.load(1000, func() bool { return strings.Contains(s.Log(), "no space left on device") })
			s.fails()
			if !strings.Contains(s.Log(), "archive command failed with exit code 111") {
				t.Errorf("no honest failure:\n%s", s.Log())
			}
			s.burst(100)
			d.Resize(t, 512)
			s.settle()
			s.complete(true)
			s.comesBack()
		})
	}
}

// A repository that hangs, hangs neither the server nor a program: each says
// what it waited for, and archiving goes on when it is there again.
func TestArchivingToHungRepository(t *testing.T) {
	t.Parallel()
	f := slowfs.Mount(t, pgtest.TempDir(t))
	s := newFarSite(t, f.Dir, f.Back, "--timeout 2s")
	s.populate()
	s.backup("b")
	s.settle()
	f.Set(slowfs.Weather{Hang: true})
	s.endAnySegment()
	s.fails()
	for _, says := range []string{"archive command failed with exit code 111", f.Dir} {
		if !strings.Contains(s.Log(), says) {
			t.Errorf("the log does not say %q:\n%s", says, s.Log())
		}
	}
	segment := strings.TrimSuffix(filepath.Base(s.waiting()[0]), ".ready")
	s.refuses(111, s.repo, "wal-push", "--timeout", "1s", "-r", s.repo, filepath.Join(s.Data, "pg_wal", segment))
	s.refuses(254, s.repo, "wal-get", "--timeout", "1s", "--retry", "0s", "-r", s.repo, segment, s.path("fetched"))
	if exists(s.path("fetched")) {
		t.Error("something was fetched")
	}
	s.burst(100)
	f.Set(slowfs.Weather{})
	s.settle()
	s.complete(false)
	s.comesBack()
}

// A repository that hangs does not keep a restore from another one.
func TestRestoreBesideHungRepository(t *testing.T) {
	t.Parallel()
	f := slowfs.Mount(t, pgtest.TempDir(t))
	s := newFarSite(t, f.Dir, f.Back, "")
	s.populate()
	s.backup("b")
	s.settle()
	near := s.path("near")
	s.must("repo", "copy", s.repo, near)
	space := s.tablespaceOID("b") + "=" + spaceFor(t)
	key := "base/b/000.tar.zst"
	f.Set(slowfs.Weather{Hang: true})
	begun := time.Now()
	r := s.run("env", "PGPIPES_TIMEOUT=5s", "restore", "-r", s.repo, "-r", near, "-D", s.path("data"), "--tablespace", space)
	if r.status != 0 || !strings.Contains(r.err, "if a repository is gone leave it out") || !exists(s.path("data/global/pg_control")) {
		t.Error(r)
	}
	if took := time.Since(begun); took > patience {
		t.Errorf("it took %v", took)
	}
	s.must("manifest", "verify", "-r", near)
	r = s.run("sh", "-c", `repo get -r "$1" -r "$2" "$3" | cmp - "$2/$3"`, "sh", s.repo, near, key)
	if r.status != 0 || !strings.Contains(r.err, s.repo+": it said nothing for 2s") {
		t.Error(r)
	}
}

// What a program asks of a repository is what it costs where one is far away.
func TestRoundTripsToRepository(t *testing.T) {
	t.Parallel()
	f := slowfs.Mount(t, pgtest.TempDir(t))
	s := newFarSite(t, f.Dir, f.Back, "")
	s.SQL("CREATE TABLE rows (n int)")
	s.settle()
	stored := s.row(1)
	s.settle()
	s.Configure("archive_command = 'false'")
	s.SQL("SELECT pg_reload_conf()")
	next := s.endAnySegment()
	last := s.endAnySegment()
	s.fails()
	get := func(name string) []string {
		return []string{"wal-get", "--ahead", "0", "--retry", "0s", "-r", s.repo, name, s.path("fetched")}
	}
	push := []string{"wal-push", "--ahead", "0", "-r", s.repo, filepath.Join(s.Data, "pg_wal", next)}
	tests := []struct {
		name    string
		command []string
		status  int
		most    int64
	}{
		{"absent segment", get(last), 1, 20},
		{"absent history", get("00000002.history"), 1, 16},
		{"get", get(stored), 0, 5},
		{"push", push, 0, 18},
		{"push again", push, 0, 10},
	}
	for _, test := range tests {
		before := f.Trips()
		r := s.run(test.command[0], test.command[1:]...)
		trips := f.Trips() - before
		t.Logf("%s: %d round trips", test.name, trips)
		if r.status != test.status || trips > test.most {
			t.Errorf("%s: %s, after %d round trips; want %d, after %d at most", test.name, r, trips, test.status, test.most)
		}
	}
}

// fails waits until the server has seen archiving fail.
func (s farSite) fails() {
	s.t.Helper()
	s.Until("SELECT failed_count > 0 FROM pg_stat_archiver", "t")
}

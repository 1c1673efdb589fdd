package e2e

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgpipes/lib/durable"
	"pgpipes/test/pgtest"
	"pgpipes/test/slowfs"
)

// The measurement is of genuine size with
//
//	go test ./test/e2e -count=1 -v -run TestRecoveryBehindLatency -timeout 1h -recovery.segment-mb 16 -recovery.rounds 3
var (
	recoverySegments  = flag.Int("recovery.segments", 200, "how many segments TestRecoveryBehindLatency recovers")
	recoverySegmentMB = flag.Int("recovery.segment-mb", 1, "their size in MiB")
	recoveryLatency   = flag.Duration("recovery.latency", 50*time.Millisecond, "how far its repository is")
	recoveryRounds    = flag.Int("recovery.rounds", 1, "how often it recovers each way")
	recoveryNaked     = flag.Bool("recovery.naked", false, "also without fetching ahead, which takes long")
)

const (
	// cacheAhead is how many segments wal-get fetches ahead unless it is told.
	cacheAhead = 16
	// accounts is what is compared of a long archive.
	accounts = "SELECT count(*), sum(hashtext(aid || '.' || abalance)) FROM pgbench_accounts"
)

// A longArchive is one that a backup with many segments after it is in.
type longArchive struct {
	dir       string // the repository is main in it
	data      string // the backup, unpacked
	segments  int
	segmentMB int
	want      string // what accounts says in the end
}

// archiveLong makes a long archive by the work of a server on its own disk.
func archiveLong(t *testing.T, segments, segmentMB int) longArchive {
	t.Helper()
	a := longArchive{dir: pgtest.TempDir(t), segments: segments, segmentMB: segmentMB}
	s := &site{t: t, dir: pgtest.TempDir(t)}
	s.use(filepath.Join(a.dir, "main"))
	s.Cluster = newCluster(t, shape{checksums: true, segmentMB: segmentMB}, "archive_mode = on", archiveTo(t, s.repo), "max_wal_size = 4GB", "shared_buffers = 128MB")
	s.Start()
	s.must("pgbench", "-i", "-q", "-s", itoa(segmentMB))
	s.backup("b")
	a.data = s.unpack("b")
	for begin := s.lsn(); s.lsn() < begin+int64(segments*segmentMB)<<20; {
		s.burst(200)
		s.SQL("UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 4 = floor(random() * 4)")
	}
	a.want = s.SQL(accounts)
	s.endAnySegment()
	far := farSite{site: s}
	for deadline := time.Now().Add(10 * patience); len(far.waiting()) > 0 && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
	}
	s.nothingWaits()
	s.Stop("fast")
	return a
}

// lsn is where WAL is written, in bytes.
func (s *site) lsn() (at int64) {
	s.t.Helper()
	fmt.Sscan(s.SQL("SELECT pg_current_wal_lsn() - '0/0'"), &at)
	return at
}

// A distant is a server that recovers from a long archive at a distance.
type distant struct {
	*pgtest.Cluster
	t     *testing.T
	fs    *slowfs.FS
	state string // its state directory
	most  int64  // bytes that were in it at once
}

// recoverer makes one that has yet to start. Without a state directory it gets
// one of its own.
func (a longArchive) recoverer(t *testing.T, state, options string) *distant {
	t.Helper()
	dir := pgtest.TempDir(t)
	d := &distant{t: t, fs: slowfs.Mount(t, a.dir), state: state}
	if state == "" {
		d.state = filepath.Join(dir, "state")
	}
	shell(t, "cp", "-a", a.data, filepath.Join(dir, "data"))
	d.Cluster = pgtest.Attach(t, filepath.Join(dir, "data"))
	d.Configure("archive_mode = off", "shared_buffers = 128MB", fmt.Sprintf("restore_command = '%s/wal-get -v --state %s %s -r %s --retry 0s %%f %%p'",
		programs(t), d.state, options, filepath.Join(d.fs.Dir, "main")))
	d.Run("touch", filepath.Join(d.Data, "recovery.signal"))
	return d
}

// recover has the server recover at a distance, and returns how long it took.
// What each is called again and again meanwhile.
func (d *distant) recover(latency time.Duration, each func()) time.Duration {
	d.t.Helper()
	d.fs.Set(slowfs.Weather{Latency: latency})
	begin := time.Now()
	d.Start()
	for deadline := begin.Add(20 * patience); ; time.Sleep(20 * time.Millisecond) {
		d.most = max(d.most, sizeOf(d.state))
		if each != nil {
			each()
		}
		if strings.Contains(d.Log(), "database system is ready to accept connections") {
			return time.Since(begin)
		}
		if syscall.Kill(d.Pid(), 0) != nil || time.Now().After(deadline) {
			d.t.Fatalf("not recovered:\n%s", d.Log())
		}
	}
}

// sizeOf is how many bytes are in a directory.
func sizeOf(dir string) (bytes int64) {
	filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			if info, err := e.Info(); err == nil {
				bytes += info.Size()
			}
		}
		return nil
	})
	return bytes
}

// check compares what was recovered, and looks for what should not be there.
func (a longArchive) check(d *distant) {
	d.t.Helper()
	expect(d.t, "accounts", d.SQL(accounts), a.want)
	d.Stop("fast")
	eventually(d.t, "no more wal-get", func() bool { return len(d.processes("wal-get")) == 0 })
	// A segment that is being written has no name, or a hidden one, beside
	// those that are ahead.
	const jobs = 4
	if bound := int64((cacheAhead + jobs) * a.segmentMB << 20); d.most > bound {
		d.t.Errorf("%d bytes were fetched ahead, more than %d", d.most, bound)
	}
	err := filepath.WalkDir(d.Data, func(path string, _ os.DirEntry, err error) error {
		if base := filepath.Base(path); strings.HasPrefix(base, durable.TemporaryPrefix) || strings.HasPrefix(base, "RECOVERYXLOG") {
			d.t.Errorf("%s: left behind", path)
		}
		return err
	})
	if err != nil {
		d.t.Error(err)
	}
}

// processes are the pids of those that were started with this word and the
// server's state directory in their arguments.
func (d *distant) processes(word string) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		args, _ := os.ReadFile(file)
		if strings.Contains(string(args), word) && strings.Contains(string(args), d.state) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// zombies are the processes that came of the server, ended, and were not waited
// for.
func (d *distant) zombies() (found []string) {
	parent := map[string]string{}
	var ended []string
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		b, _ := os.ReadFile(file)
		_, rest, _ := strings.Cut(string(b), ") ")
		pid := filepath.Base(filepath.Dir(file))
		if field := strings.Fields(rest); len(field) > 1 {
			parent[pid] = field[1]
			if field[0] == "Z" {
				ended = append(ended, pid)
			}
		}
	}
	for _, pid := range ended {
		for at := pid; at != ""; at = parent[at] {
			if at == strconv.Itoa(d.Pid()) {
				found = append(found, pid)
			}
		}
	}
	return found
}

// served are how many segments came from the cache, and how many straight from
// the repository.
func (d *distant) served() (ahead, direct int) {
	log := d.Log()
	return strings.Count(log, ": it was fetched ahead"), len(fetchedSegment.FindAllString(log, -1))
}

var fetchedSegment = regexp.MustCompile(`(?m)wal-get: [0-9A-F]{24}: fetched$`)

// Recovery does not wait for a repository that is far away. How long it takes is
// measured, and for people to read.
func TestRecoveryBehindLatency(t *testing.T) {
	a := archiveLong(t, *recoverySegments, *recoverySegmentMB)
	ways := []struct {
		name    string
		latency time.Duration
		options string
	}{
		{"near, nothing ahead", 0, "--ahead 0"},
		{"near", 0, ""},
		{"far", *recoveryLatency, ""},
		{"far, nothing ahead", *recoveryLatency, "--ahead 0"},
	}
	if !*recoveryNaked {
		ways = ways[:3]
	}
	for range *recoveryRounds {
		for _, way := range ways {
			t.Run(way.name, func(t *testing.T) {
				d := a.recoverer(t, "", way.options)
				took := d.recover(way.latency, nil)
				ahead, direct := d.served()
				t.Logf("%v away: %v for %d segments of %d MiB and more; %d from the cache, %d from the repository; %d round trips; at most %d MiB ahead; redo %s",
					way.latency, took.Round(time.Millisecond), a.segments, a.segmentMB, ahead, direct, d.fs.Trips(), d.most>>20, redo.FindString(d.Log()))
				eventually(t, "no zombies", func() bool { return len(d.zombies()) == 0 })
				if ahead == 0 && way.options == "" {
					t.Error("nothing came from the cache")
				}
				a.check(d)
			})
		}
	}
}

var redo = regexp.MustCompile(`elapsed: [0-9.]* s`)

// Whatever becomes of the cache and of what fills it, recovery is right.
func TestRecoveryWithoutCache(t *testing.T) {
	t.Parallel()
	a := archiveLong(t, 30, 1)
	tests := map[string]func(t *testing.T) string{ // makes a state directory
		"read-only": func(t *testing.T) string { dir := pgtest.TempDir(t); shell(t, "chmod", "500", dir); return dir },
		"full":      func(t *testing.T) string { return slowfs.MountDisk(t, 2).Dir },
		"too small": func(t *testing.T) string { return slowfs.MountDisk(t, 1+cacheAhead).Dir },
		"missing":   func(t *testing.T) string { return filepath.Join(pgtest.TempDir(t), "no", "such") },
		"a file":    func(t *testing.T) string { return filepath.Join(a.dir, "main", "pgpipes") },
		"open to others": func(t *testing.T) string {
			dir := pgtest.TempDir(t)
			shell(t, "chmod", "755", dir)
			return dir
		},
	}
	for name, state := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := a.recoverer(t, state(t), "")
			d.recover(time.Millisecond, nil)
			if ahead, _ := d.served(); ahead > 0 {
				t.Errorf("%d came from the cache", ahead)
			}
			a.check(d)
		})
	}
	t.Run("killed", func(t *testing.T) {
		t.Parallel()
		d := a.recoverer(t, "", "")
		killed := 0
		d.recover(5*time.Millisecond, func() {
			for _, pid := range d.processes("--detached") {
				if syscall.Kill(pid, syscall.SIGKILL) == nil {
					killed++
				}
			}
		})
		if killed == 0 {
			t.Error("there was nothing to kill")
		}
		a.check(d)
	})
}

package e2e

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgpipes/test/pgtest"
)

// A mishap is something that may happen between two hosts. To strike returns
// how to mend it.
type mishap struct {
	name   string
	strike func(h *farHost) (mend func())
}

// mishaps are those that every command over ssh must stand. A stream of more
// than 32 KiB does not get through the last three.
func mishaps() []mishap {
	const enough = 32 << 10
	return []mishap{
		{"connection refused", func(h *farHost) func() { h.host.Kill(); return h.host.Run }},
		{"wrong key", func(h *farHost) func() {
			h.host.Admit("stranger", "")
			return func() { h.host.Admit("user", "") }
		}},
		{"another host", func(h *farHost) func() { h.host.Know("stranger"); return func() { h.host.Know("host") } }},
		{"no shell", forced("echo This account is currently not available.; exit 1")},
		{"a shell that does nothing", forced("true")},
		{"a shell that says much", forced("echo $SSH_ORIGINAL_COMMAND; echo end 1; echo end 0")},
		{"programs missing", func(h *farHost) func() {
			h.must("mv", h.path("bin"), h.path("away"))
			return func() { h.must("mv", h.path("away"), h.path("bin")) }
		}},
		{"program missing", func(h *farHost) func() {
			h.must("rm", h.path("bin/wal-push"), h.path("bin/wal-get"))
			return func() { h.must("ln", "-s", programs(h.t)+"/wal-push", programs(h.t)+"/wal-get", h.path("bin")) }
		}},
		{"cut", func(h *farHost) func() {
			h.route(newRelay(h, relay{up: enough, down: enough}).port())
			return func() { h.route(h.host.Port) }
		}},
		{"silence", func(h *farHost) func() {
			h.route(newRelay(h, relay{up: enough, down: enough, stay: true}).port(), "ServerAliveInterval 1", "ServerAliveCountMax 1")
			return func() { h.route(h.host.Port) }
		}},
		{"sshd killed", func(h *farHost) func() {
			r := newRelay(h, relay{up: enough, down: enough, stay: true})
			h.route(r.port())
			killed := make(chan struct{})
			go func() { <-r.full; h.host.Kill(); close(killed) }()
			return func() {
				select {
				case <-killed:
				case <-time.After(patience):
					h.t.Fatal("nothing came that far")
				}
				h.host.Run()
				h.route(h.host.Port)
			}
		}},
	}
}

// forced is an account that does one thing only.
func forced(command string) func(h *farHost) func() {
	return func(h *farHost) func() {
		h.host.Admit("user", `command="`+command+`"`)
		return func() { h.host.Admit("user", "") }
	}
}

// bulk is an insertion that fills more than 32 KiB of compressed WAL.
const bulk = "INSERT INTO bulk SELECT md5(random()::text) FROM generate_series(1, 3000)"

// archiveOverSSH has the server archive as README.md says from now on.
func (s *site) archiveOverSSH(h *farHost) {
	s.t.Helper()
	s.Configure(h.settings()...)
	s.SQL("SELECT pg_reload_conf()")
	s.Until("SELECT setting LIKE '%ssh%' FROM pg_settings WHERE name = 'archive_command'", "t")
}

// Whatever happens on the way, the archiver counts a failure and archives it
// all once the cause is gone; it is never ended, and nothing is lost.
func TestArchivingOverSSH(t *testing.T) {
	t.Parallel()
	s := hereSite(t, small)
	h := newFarHost(s)
	s.archiveOverSSH(h)
	s.SQL("CREATE TABLE rows (n int); CREATE TABLE bulk (pad text)")
	s.backup("b")
	var want []string
	for n, m := range mishaps() {
		t.Run(m.name, func(t *testing.T) {
			s := s.in(t)
			h.move(t)
			failed := s.SQL("SELECT failed_count FROM pg_stat_archiver")
			mend := m.strike(h)
			s.SQL("INSERT INTO rows VALUES (" + itoa(n) + ")")
			s.SQL(bulk)
			segment := s.SQL("SELECT pg_walfile_name(pg_switch_wal())")
			s.Until("SELECT failed_count > "+failed+" FROM pg_stat_archiver", "t")
			if exists(s.segmentFile(segment)) {
				t.Error("it did not fail")
			}
			mend()
			s.catchUp()
		})
		want = append(want, itoa(n))
	}
	h.move(t)
	for _, ended := range regexp.MustCompile(`LOG:  archive command .*`).FindAllString(s.Log(), -1) {
		if ended != "LOG:  archive command failed with exit code 1" {
			t.Error(ended)
		}
	}
	expect(t, "rows", s.recovered(t, "--archive-mode", "off").SQL(allRows), strings.Join(want, ","))
}

// Whatever happens on the way, recovery stops and can go on; only the real end
// of the WAL ends it.
func TestRecoveryOverSSH(t *testing.T) {
	t.Parallel()
	s := hereSite(t, small)
	h := newFarHost(s)
	s.archiveOverSSH(h)
	s.SQL("CREATE TABLE rows (n int); CREATE TABLE bulk (pad text)")
	s.backup("b")
	for n := 1; n <= 3; n++ {
		s.SQL(bulk)
		s.row(n)
	}
	s.Stop("fast")
	c := pgtest.Attach(t, s.unpack("b"))
	c.Configure(append(h.settings(), "archive_mode = off")...)
	c.Run("touch", filepath.Join(c.Data, "recovery.signal"))
	for _, m := range mishaps() {
		t.Run(m.name, func(t *testing.T) {
			h.move(t)
			before := len(c.Log())
			mend := m.strike(h)
			promoted := recovers(t, c)
			log := c.Log()[before:]
			if promoted {
				t.Fatalf("recovery came to an end with rows %s:\n%s", c.SQL(allRows), log)
			}
			if !strings.Contains(log, "could not restore file") || !strings.Contains(log, "exit code 254") ||
				strings.Contains(log, "archive recovery complete") || !exists(filepath.Join(c.Data, "recovery.signal")) {
				t.Errorf("not stopped as it should:\n%s", log)
			}
			mend()
		})
	}
	h.move(t)
	if !recovers(t, c) {
		t.Fatalf("not recovered:\n%s", c.Log())
	}
	expect(t, "rows", c.SQL(allRows), "1,2,3")
	expect(t, "timeline", c.SQL("SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)"), "00000002")
}

// A ferry takes one WAL file between the hosts as the server would, again and
// again, through connections that are cut after some bytes.
type ferry struct {
	*farHost
	command  string // from the server's settings
	dir      string // where it runs
	name, at string // for %f and %p
}

// ferry prepares the archive_command or the restore_command for a file.
func (h *farHost) ferry(setting, name, at string) *ferry {
	h.t.Helper()
	dir := pgtest.TempDir(h.t)
	h.must("mkdir", filepath.Join(dir, "pg_wal"))
	return &ferry{h, h.SQL("SHOW " + setting), dir, name, at}
}

// goes runs the command, as the server does without heeding SIGPIPE.
func (f *ferry) goes() result {
	f.t.Helper()
	command := strings.NewReplacer("%f", f.name, "%p", f.at).Replace(f.command)
	cmd := f.Command("sh", "-c", `cd "$1" && trap '' PIPE && exec sh -c "$2"`, "sh", f.dir, command)
	return finish(f.t, cmd)
}

// cut is goes through a relay.
func (f *ferry) cut(up, down int64) result {
	f.t.Helper()
	r := newRelay(f.farHost, relay{up: up, down: down})
	defer r.Close()
	f.route(r.port())
	defer f.route(f.host.Port)
	return f.goes()
}

// everywhere cuts at some places, and closes in on the fewest bytes that do.
// The status of a try that got through is arrived.
func everywhere(limit int64, arrived int, try func(bytes int64) (status int)) {
	for i := range int64(4) {
		try(limit * i / 16)
	}
	for low, high := int64(0), limit; high-low > 64; {
		middle := (low + high) / 2
		if try(middle) == arrived {
			high = middle
		} else {
			low = middle
		}
	}
}

// A cargo is a WAL file that the repository has.
type cargo struct {
	name, object string
	limit        int64 // bytes of a connection that are enough for it
	contents     []byte
}

// Wherever a connection is cut, no file arrives in part, and no success or
// absence is told that has not been.
func TestCutsOverSSH(t *testing.T) {
	t.Parallel()
	s := hereSite(t, small)
	s.SQL("CREATE TABLE rows (n int); CREATE TABLE bulk (pad text)")
	s.SQL(bulk)
	segment := s.row(1)
	h := newFarHost(s)
	reason := make([]byte, 2000)
	rand.Read(reason)
	h.host.Write("00000002.history", fmt.Sprintf("1\t0/1000000\tthe end 0 %x\n", reason))
	s.must("wal-push", "-r", s.repo, s.path("00000002.history"))
	s.must("zstd", "-qd", s.segmentFile(segment), "-o", s.path(segment))
	s.Stop("fast")
	s.Configure(h.settings()...)
	s.Start()
	for kind, c := range map[string]cargo{
		"segment": {name: segment, object: s.segmentFile(segment), limit: 1 << 20},
		"history": {name: "00000002.history", object: s.inRepo("wal/history/00000002.history"), limit: 16 << 10},
	} {
		var err error
		if c.contents, err = os.ReadFile(s.path(c.name)); err != nil {
			t.Fatal(err)
		}
		t.Run("restore "+kind, func(t *testing.T) { h.move(t); h.cutRestore(c) })
		t.Run("archive "+kind, func(t *testing.T) { h.move(t); h.cutArchive(c, false) })
		t.Run("archive "+kind+", the answer", func(t *testing.T) { h.move(t); h.cutArchive(c, true) })
	}
	t.Run("restore what is absent", func(t *testing.T) { h.move(t); h.cutAbsent("00000003.history") })
}

func (h *farHost) cutRestore(c cargo) {
	f := h.ferry("restore_command", c.name, "pg_wal/RECOVERY")
	try := func(n int64) int {
		r := f.cut(unlimited, n)
		got, _ := os.ReadFile(filepath.Join(f.dir, f.at))
		if r.status != 254 && (r.status != 0 || !bytes.Equal(got, c.contents)) {
			h.t.Errorf("%d bytes: %d of %d, %s", n, len(got), len(c.contents), r)
		}
		return r.status
	}
	everywhere(c.limit, 0, try)
	if try(unlimited) != 0 {
		h.t.Error("it does not come at all")
	}
	f.at = "/dev/full"
	if r := f.goes(); r.status != 254 {
		h.t.Error(r)
	}
}

// cutArchive cuts the way to the far host, or only that of the answer.
func (h *farHost) cutArchive(c cargo, answer bool) {
	f := h.ferry("archive_command", c.name, "pg_wal/"+c.name)
	h.must("cp", h.path(c.name), filepath.Join(f.dir, f.at))
	try := func(n int64) int {
		shell(h.t, "rm", "-f", c.object)
		up, down := n, int64(unlimited)
		if answer {
			up, down = down, up
		}
		r := f.cut(up, down)
		if whole := f.stored(c); r.status != 1 && (r.status != 0 || !whole) {
			h.t.Errorf("%d bytes: stored is %t, %s", n, whole, r)
		}
		return r.status
	}
	if answer {
		c.limit = 16 << 10
	}
	everywhere(c.limit, 0, try)
	if try(unlimited) != 0 {
		h.t.Error("it does not come at all")
	}
}

func (h *farHost) cutAbsent(name string) {
	f := h.ferry("restore_command", name, "pg_wal/RECOVERYHISTORY")
	try := func(n int64) int {
		r := f.cut(unlimited, n)
		if r.status != 254 && r.status != 1 {
			h.t.Errorf("%d bytes: %s", n, r)
		}
		return r.status
	}
	everywhere(16<<10, 1, try)
	if try(unlimited) != 1 {
		h.t.Error("it is never absent")
	}
	f.name = "nonsense" // which is an error of wal-get's
	if try(unlimited) != 254 {
		h.t.Error("an error became an absence")
	}
}

// stored reports whether the repository has the file, which then must be whole.
// The far host may still be at it when the connection is lost.
func (f *ferry) stored(c cargo) bool {
	f.t.Helper()
	f.idle()
	if !exists(c.object) {
		return false
	}
	f.must("wal-get", "-r", f.repo, f.name, f.path("fetched"))
	got, err := os.ReadFile(f.path("fetched"))
	if err != nil || !bytes.Equal(got, c.contents) {
		f.t.Errorf("%s: %d bytes stored of %d, %v", c.object, len(got), len(c.contents), err)
	}
	return true
}

package e2e

import (
	"bytes"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// vaultSite is a site whose repository is on a host that offers nothing but sftp.
func vaultSite(t *testing.T) (*site, *farHost) {
	t.Helper()
	s := hereSite(t, small, "archive_command = ''")
	h := s.behindSFTP()
	s.repo, s.local = s.beside("repo")
	s.Configure(archiveTo(t, s.repo))
	s.SQL("SELECT pg_reload_conf()")
	return s, h
}

// A lock behind sftp keeps a second backup out, is free when its holder is gone,
// and ends a holder that has lost it.
func TestLockOverSFTP(t *testing.T) {
	t.Parallel()
	s, h := vaultSite(t)
	s.must("repo", "init", "-r", s.repo, "-D", s.Data)
	holder := s.Command("repo", "lock", "-r", s.repo, "backup", "sh", "-c", "touch held; exec sleep 600")
	holder.Dir = s.dir
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "held", func() bool { return exists(s.path("held")) })
	s.refuses(1, "busy: held by pid", "backup", "-r", s.repo, "-D", s.Data, "--fast")
	expect(t, "another lock", s.must("repo", "lock", "-r", s.repo, "other", "echo", "free"), "free\n")
	holder.Process.Signal(syscall.SIGKILL)
	holder.Wait()
	s.must("backup", "-r", s.repo, "-D", s.Data, "--fast", "--wait", "30s")
	expect(t, "freed", s.must("repo", "lock", "-r", s.repo, "backup", "--wait", "30s", "echo", "free"), "free\n")
	expect(t, "held by itself", s.must("repo", "lock", "-r", s.repo, "backup", "repo", "held", "-r", s.repo, "backup"), "")
	h.idle()
}

// A backup that has lost its lock to another one stores no manifest.
func TestLostLockOverSFTP(t *testing.T) {
	t.Parallel()
	s, _ := vaultSite(t)
	s.must("check", "-r", s.repo)
	taken := `case $1 in held)
		last=$(ls ` + s.local + `/lease/backup | tail -n 1)
		printf 'pgpipes-lease\t1\ntoken\tT\nterm\t1m0s\nholder\theld by pid 7 on db2 since then: backup\n' \
			>"` + s.local + `/lease/backup/$(printf %010d $(($(echo "$last" | sed 's/^0*//') + 1)))" ;;
		esac; exec REAL "$@"`
	backup := filepath.Join(withFake(t, "repo", taken), "backup")
	s.refuses(1, "repo: lock backup: the lease was lost: held by pid 7 on db2 since then: backup", backup, "-r", s.repo, "-D", s.Data, "--fast", "--label", "b")
	if exists(filepath.Join(s.local, "base/b/manifest")) || !exists(filepath.Join(s.local, "base/b/000.tar.zst")) {
		t.Error("it is listed all the same, or its parts are gone")
	}
}

// A backup that ends because whoever keeps its lock was killed says so. Any other
// SIGTERM says nothing.
func TestKeeperKilled(t *testing.T) {
	t.Parallel()
	s, _ := vaultSite(t)
	s.must("repo", "init", "-r", s.repo, "-D", s.Data)
	backup := filepath.Join(withFake(t, "base-copy", ": >copying; exec tail -f /dev/null"), "backup")
	keepers := func() []int { return s.processes("repo\x00keep") }
	for _, test := range []struct {
		name    string
		signal  syscall.Signal
		victims func() []int
		says    bool
	}{
		{"script", syscall.SIGTERM, func() []int { return s.processes("backup\x00-r") }, false},
		{"keeper", syscall.SIGKILL, keepers, true}, // and its lease has to end by itself
	} {
		cmd := s.Command(backup, "-r", s.repo, "-D", s.Data)
		var said bytes.Buffer
		cmd.Dir, cmd.Stderr = s.dir, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "copying", func() bool { return exists(s.path("copying")) })
		for _, pid := range test.victims() {
			syscall.Kill(pid, test.signal)
		}
		cmd.Wait()
		if status := statusOf(cmd.ProcessState); status != 143 || strings.Contains(said.String(), "nobody keeps the lock") != test.says {
			t.Errorf("%s: status %d, %s", test.name, status, said.String())
		}
		s.must("rm", s.path("copying"))
		eventually(t, "the keeper is gone", func() bool { return len(keepers()) == 0 })
	}
}

// Whatever happens to the far host, the archiver counts a failure and goes on
// when it is back.
func TestArchivingOverSFTP(t *testing.T) {
	t.Parallel()
	s, h := vaultSite(t)
	s.SQL("CREATE TABLE rows (n int); CREATE TABLE bulk (pad text)")
	s.backup("b")
	for n, m := range []mishap{
		{"connection refused", func(h *farHost) func() { h.host.Kill(); return h.host.Run }},
		{"wrong key", func(h *farHost) func() {
			h.host.Admit("stranger", "")
			return func() { h.host.Admit("user", `command="internal-sftp"`) }
		}},
		{"another host", func(h *farHost) func() { h.host.Know("stranger"); return func() { h.host.Know("host") } }},
		{"no sftp", func(h *farHost) func() {
			h.host.Admit("user", `command="echo no disk; echo really >&2"`)
			return func() { h.host.Admit("user", `command="internal-sftp"`) }
		}},
		{"no permission", func(h *farHost) func() {
			h.must("chmod", "0", s.local)
			return func() { h.must("chmod", "700", s.local) }
		}},
		{"cut", func(h *farHost) func() {
			h.route(newRelay(h, relay{up: 64 << 10, down: 64 << 10}).port())
			return func() { h.route(h.host.Port) }
		}},
		{"silence", func(h *farHost) func() {
			h.route(newRelay(h, relay{up: 64 << 10, down: 64 << 10, stay: true}).port(), "ServerAliveInterval 1", "ServerAliveCountMax 1")
			return func() { h.route(h.host.Port) }
		}},
	} {
		t.Run(m.name, func(t *testing.T) {
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
	}
	h.move(t)
	if strings.Contains(s.Log(), "terminated by signal") {
		t.Error(s.Log())
	}
	expect(t, "rows", s.recovered(t, "--archive-mode", "off").SQL(allRows), "0,1,2,3,4,5,6")
}

// A host that may only add archives and backs up, and neither it nor who has
// taken it over can remove or change anything.
func TestAddingOnly(t *testing.T) {
	t.Parallel()
	s, h := vaultSite(t)
	s.must("repo", "init", "-r", s.local, "-D", s.Data)
	h.host.Admit("user", `command="`+programs(t)+`/repo guard `+s.local+`",restrict`)
	s.SQL("CREATE TABLE rows (n int)")
	s.must("check", "-r", s.repo)
	s.backup("b")
	s.SQL("INSERT INTO rows VALUES (1)")
	s.must("check", "-r", s.repo)
	s.must("manifest", "verify", "-r", s.repo)
	before := s.must("repo", "ls", "-r", s.local)
	s.refuses(111, "permission denied", "repo", "rm", "-r", s.repo, "base/b/manifest")
	s.must("backup", "-r", s.repo, "-D", s.Data, "--fast", "--label", "c")
	if r := s.run("expire", "-r", s.repo, "--keep-last", "1"); r.status != 111 {
		t.Errorf("expire: %s", r)
	}
	after := s.must("repo", "ls", "-r", s.local)
	for line := range strings.Lines(before) {
		if !strings.HasPrefix(line, "lease/") && !strings.Contains(after, line) {
			t.Errorf("gone: %s", line)
		}
	}
	expect(t, "rows", s.recovered(t, "--archive-mode", "off").SQL(allRows), "1")
	s.must("expire", "-r", s.local, "--keep-last", "1")
	expect(t, "backups", s.listed(), "c")
}

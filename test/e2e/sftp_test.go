package e2e

import (
	"strings"
	"syscall"
	"testing"

	"pgpipes/test/pgtest"
)

// vaultSite is a site whose repository is on another host, which offers nothing
// but sftp. Its repo is the location there; local is the same place here.
func vaultSite(t *testing.T, conf ...string) (s *site, h *farHost, local string) {
	t.Helper()
	s = newSite(t, small, append([]string{"archive_command = ''"}, conf...)...)
	h = newFarHost(s)
	h.admit(`command="internal-sftp"`)
	local = s.repo
	s.repo = "sftp://backup" + local
	s.env = []string{"PGPIPES_SSH_CONFIG=" + h.path("config")}
	s.Configure(strings.Replace(archiveTo(t, s.repo), "'", "'"+s.env[0]+" ", 1))
	s.SQL("SELECT pg_reload_conf()")
	return s, h, local
}

// fromFar has a restored server fetch its WAL from there.
func (s *site) fromFar(t *testing.T, options ...string) *pgtest.Cluster {
	t.Helper()
	c := s.restored(t, options...)
	// What restore has written knows nothing of the configuration of the test.
	c.Run("sh", "-c", `printf '%s\n' "$1" >>"$2"`, "sh", strings.Replace(restoreFrom(t, s.repo), "'", "'"+s.env[0]+" ", 1),
		c.Data+"/postgresql.auto.conf")
	c.Configure("archive_mode = off")
	if !recovers(t, c) {
		t.Fatalf("not recovered:\n%s", c.Log())
	}
	return c
}

// All that is done with a directory is done with one behind sftp.
func TestRepositoryOverSFTP(t *testing.T) {
	t.Parallel()
	s, _, local := vaultSite(t)
	s.SQL("CREATE TABLE rows (n int)")
	s.must("check", "-r", s.repo)
	s.backup("full")
	s.SQL("INSERT INTO rows VALUES (1)")
	s.must("backup", "-r", s.repo, "-D", s.Data, "--fast", "--label", "more", "--since", "full")
	s.SQL("INSERT INTO rows VALUES (2)")
	then := s.SQL("SELECT clock_timestamp()")
	s.SQL("INSERT INTO rows VALUES (3)")
	s.must("check", "-r", s.repo)
	expect(t, "backups", s.listed(), "full more")
	s.must("manifest", "verify", "-r", s.repo)
	s.must("manifest", "verify", "-r", local)

	c := s.fromFar(t)
	expect(t, "rows", c.SQL(allRows), "1,2,3")
	c.Stop("fast")
	s.must("restore", "-r", s.repo, "-D", c.Data, "--delta", "--archive-mode", "off")
	expect(t, "rows then", s.fromFar(t, "--to", "time="+then).SQL(allRows), "1,2")

	s.must("backup", "-r", s.repo, "-D", s.Data, "--fast", "--label", "last", "--keep-last", "1")
	expect(t, "backups", s.listed(), "last")
	expect(t, "rows at last", s.fromFar(t).SQL(allRows), "1,2,3")
	if out := s.must("find", local, "-name", ".*"); out != "" {
		t.Errorf("left behind: %s", out)
	}
}

// A lock behind sftp keeps a second backup out, is free when its holder is gone,
// and ends a holder that has lost it.
func TestLockOverSFTP(t *testing.T) {
	t.Parallel()
	s, h, _ := vaultSite(t)
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
	expect(t, "freed", s.must("repo", "lock", "-r", s.repo, "backup", "--wait", "30s", "echo", "free"), "free\n")
	expect(t, "held by itself", s.must("repo", "lock", "-r", s.repo, "backup", "repo", "held", "-r", s.repo, "backup"), "")
	h.idle()
}

// Whatever happens to the far host, the archiver counts a failure and goes on
// when it is back.
func TestArchivingOverSFTP(t *testing.T) {
	t.Parallel()
	s, h, local := vaultSite(t)
	s.SQL("CREATE TABLE rows (n int); CREATE TABLE bulk (pad text)")
	s.backup("b")
	for n, m := range []mishap{
		{"connection refused", func(h *farHost) func() { h.stop(); return h.start }},
		{"wrong key", func(h *farHost) func() {
			h.write("authorized", h.publicKey("stranger")+"\n")
			return func() { h.admit(`command="internal-sftp"`) }
		}},
		{"another host", func(h *farHost) func() { h.know("stranger"); return func() { h.know("host") } }},
		{"no sftp", func(h *farHost) func() {
			h.admit(`command="echo no disk; echo really >&2"`)
			return func() { h.admit(`command="internal-sftp"`) }
		}},
		{"no permission", func(h *farHost) func() {
			h.must("chmod", "0", local)
			return func() { h.must("chmod", "700", local) }
		}},
		{"cut", func(h *farHost) func() {
			h.route(newRelay(h, relay{up: 64 << 10, down: 64 << 10}).port())
			return func() { h.route(h.port) }
		}},
		{"silence", func(h *farHost) func() {
			h.route(newRelay(h, relay{up: 64 << 10, down: 64 << 10, stay: true}).port(), "ServerAliveInterval 1", "ServerAliveCountMax 1")
			return func() { h.route(h.port) }
		}},
	} {
		t.Run(m.name, func(t *testing.T) {
			h.site = s.in(t)
			failed := s.SQL("SELECT failed_count FROM pg_stat_archiver")
			mend := m.strike(h)
			s.SQL("INSERT INTO rows VALUES (" + itoa(n) + ")")
			s.SQL(bulk)
			segment := s.SQL("SELECT pg_walfile_name(pg_switch_wal())")
			s.Until("SELECT failed_count > "+failed+" FROM pg_stat_archiver", "t")
			if exists(segmentFile(local, segment)) {
				t.Error("it did not fail")
			}
			mend()
			s.catchUp()
		})
	}
	h.site = s
	if strings.Contains(s.Log(), "terminated by signal") {
		t.Error(s.Log())
	}
	expect(t, "rows", s.fromFar(t).SQL(allRows), "0,1,2,3,4,5,6")
}

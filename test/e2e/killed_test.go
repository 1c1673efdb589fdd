package e2e

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// moments is how often each victim is killed, at random moments of a backup.
const moments = 10

// Whoever is killed, and whenever: there is no backup that is not whole, the
// server does not stay in backup mode, nothing goes on running, and the next
// backup succeeds.
func TestBackupKilledAnytime(t *testing.T) {
	victims := map[string]func(*site) []int{
		"base-copy": func(s *site) []int { return s.processes("base-copy") },
		"command":   func(s *site) []int { return s.processes("repo\x00put") },
		"script":    func(s *site) []int { return s.processes("backup\x00-r") },
		"server":    func(s *site) []int { return []int{s.Pid()} },
	}
	for name, find := range victims {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, small)
			s.populate()
			s.lean()
			options := append([]string{"-r", s.repo, "-D", s.Data, "--fast"}, tiny...)
			paced := []string{"--", "--max-rate", "12MiB"}
			began := time.Now()
			s.must("backup", append(append(options, "--label", "whole"), paced...)...)
			took := time.Since(began)
			for i := range moments {
				label := "k" + itoa(i)
				extra := []string{"--label", label}
				if i%2 == 1 {
					extra = []string{"--resume"}
				}
				cmd := s.Command("backup", append(append(options, extra...), paced...)...)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				at := rand.N(took)
				time.Sleep(at)
				for _, pid := range find(s) {
					syscall.Kill(pid, syscall.SIGKILL)
				}
				if name == "server" {
					s.Wait()
					eventually(t, "a server again", func() bool { return s.TryStart() == nil }) // the old one's sessions end first
				}
				s.aftermath(t, name+" killed after "+at.String(), cmd)
				s.must("repo", "lock", "-r", s.repo, "--wait", patience.String(), "backup", "true") // a lease outlives its owner
			}
			want := s.SQL(digest)
			s.must("backup", append(options, "--label", "next")...)
			s.must("manifest", "verify", "-r", s.repo)
			s.endAnySegment()
			s.nothingWaits()
			c := s.recovered(t, "--backup", "next", "--archive-mode", "off", "--tablespace", s.spaceOID()+"="+s.path("space"))
			expect(t, "contents", c.SQL(digest), want)
		})
	}
}

// aftermath looks at what is left when something was killed.
func (s *site) aftermath(t *testing.T, what string, cmd *exec.Cmd) {
	t.Helper()
	cmd.Wait()
	eventually(t, what+": all processes of the backup gone", func() bool {
		return len(s.processes("base-copy"))+len(s.processes("repo\x00put")) == 0
	})
	s.noBackupRuns()
	manifests, _ := filepath.Glob(s.inRepo("base/*/manifest"))
	for _, m := range manifests {
		if r := s.run("manifest", "verify", "-r", s.repo, filepath.Base(filepath.Dir(m))); r.status != 0 {
			t.Errorf("%s: %s", what, r)
		}
	}
}

// processes are those whose command line holds a text, and the site's repository.
func (s *site) processes(text string) (pids []int) {
	list, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range list {
		line, err := os.ReadFile(file)
		if err == nil && bytes.Contains(line, []byte(text)) && bytes.Contains(line, []byte(s.repo)) {
			pid, _ := strconv.Atoi(strings.Split(file, "/")[2])
			pids = append(pids, pid)
		}
	}
	return pids
}

// A restore that is killed at any moment leaves nothing that a server could be
// started from, unless it is complete, and the next one succeeds.
func TestRestoreKilledAnytime(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.populate()
	s.must("backup", append([]string{"-r", s.repo, "-D", s.Data, "--fast", "--label", "b"}, tiny...)...)
	data, space := s.path("data"), s.path("space")
	restore := []string{"-r", s.repo, "-D", data, "--tablespace", s.spaceOID() + "=" + space, "-j", "2"}
	began := time.Now()
	s.must("restore", restore...)
	took := time.Since(began)
	for range moments {
		s.must("rm", "-rf", data, space)
		cmd := s.Command("restore", restore...)
		if cmd.SysProcAttr == nil {
			cmd.SysProcAttr = &syscall.SysProcAttr{}
		}
		cmd.SysProcAttr.Setpgid = true
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		at := rand.N(took)
		time.Sleep(at)
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
		eventually(t, "all processes of the restore gone", func() bool { return len(s.processes("repo\x00get")) == 0 })
		if exists(filepath.Join(data, "global/pg_control")) {
			s.must("rm", "-f", filepath.Join(data, "postgresql.auto.conf.tmp")) // its settings were just being written
			s.must("manifest", "verify", "-m", s.inRepo("base/b/manifest"), "-D", data)
			continue
		}
		if r := s.run("restore", restore...); r.status != 0 {
			t.Errorf("killed after %s, and then: %s", at, r)
		}
	}
}

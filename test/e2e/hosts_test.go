package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgpipes/test/fixture"
	"pgpipes/test/sshd"
)

// A host has a name and a network of its own, from which a cable leads to the
// backup host, which is where the test runs.
type host struct {
	t      *testing.T
	name   string
	config string // of ssh
	cable  string // the backup host's end
}

// backupHost is an sshd at the ends of the cables of two other hosts. It takes the
// superuser to lay them.
func backupHost(t *testing.T) (server *sshd.Server, hosts [2]*host) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make networks")
	}
	net := rand.IntN(250)
	settings := []string{}
	for i, name := range []string{"alpha", "beta"} {
		h := &host{t: t, name: fmt.Sprintf("%s-%d", name, os.Getpid()), cable: fmt.Sprintf("pgp%d-%s", os.Getpid(), name[:1])}
		near, far := fmt.Sprintf("10.213.%d.%d", net, 4*i+1), fmt.Sprintf("10.213.%d.%d", net, 4*i+2)
		t.Cleanup(func() { exec.Command("ip", "netns", "del", h.name).Run() })
		shell(t, "ip", "netns", "add", h.name)
		shell(t, "ip", "link", "add", h.cable, "type", "veth", "peer", "name", "uplink", "netns", h.name)
		shell(t, "ip", "addr", "add", near+"/30", "dev", h.cable)
		shell(t, "ip", "link", "set", h.cable, "up")
		shell(t, "ip", "-n", h.name, "addr", "add", far+"/30", "dev", "uplink")
		shell(t, "ip", "-n", h.name, "link", "set", "uplink", "up")
		settings = append(settings, "ListenAddress "+near)
		h.config = near
		hosts[i] = h
	}
	server = sshd.Start(t, settings...)
	for _, h := range hosts {
		server.Configure("HostName " + h.config)
		h.config = server.Path(h.name)
		if err := os.Rename(server.Config, h.config); err != nil {
			t.Fatal(err)
		}
	}
	server.Configure()
	return server, hosts
}

// command is a program that runs on the host.
func (h *host) command(repo, program string, args ...string) *exec.Cmd {
	argv := append([]string{"netns", "exec", h.name, "unshare", "--uts", "sh", "-euc",
		`echo "$1" >/proc/sys/kernel/hostname; shift; exec "$@"`, "sh", h.name, program}, args...)
	cmd := exec.Command("ip", argv...)
	cmd.Env = append(os.Environ(), "PATH="+programs(h.t)+":"+os.Getenv("PATH"), "PGPIPES_REPOSITORY=sftp://vault"+repo+"?config="+h.config)
	return cmd
}

// Two hosts work with one repository. Of two that want the lock at once one gets
// it. When a host is cut off its command is ended before another host gets the
// lock.
func TestLockOfTwoHosts(t *testing.T) {
	t.Parallel()
	_, hosts := backupHost(t)
	alpha, beta := hosts[0], hosts[1]
	dir := t.TempDir()
	repo, data := filepath.Join(dir, "repo"), filepath.Join(dir, "data")
	if err := fixture.DataDirectory(data, 1, 16<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := alpha.command(repo, "repo", "init", "-D", data).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}

	statuses := map[int]int{}
	var said [2]strings.Builder
	var racing [2]*exec.Cmd
	for i, h := range hosts {
		racing[i] = h.command(repo, "repo", "lock", "backup", "sleep", "5")
		racing[i].Stderr = &said[i]
		if err := racing[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	for i, h := range hosts {
		racing[i].Wait()
		status := statusOf(racing[i].ProcessState)
		statuses[status]++
		if winner := hosts[1-i].name; status == 1 && (!strings.Contains(said[i].String(), "busy: held by") || !strings.Contains(said[i].String(), winner)) {
			t.Errorf("%s says %q, but %s has the lock", h.name, &said[i], winner)
		}
	}
	if statuses[0] != 1 || statuses[1] != 1 {
		t.Errorf("statuses of two at once: %v\n%s\n%s", statuses, &said[0], &said[1])
	}

	alive := filepath.Join(dir, "alive")
	holder := alpha.command(repo, "repo", "lock", "backup", "sh", "-c", `while date +%s%N >"$1.new"; mv "$1.new" "$1"; do sleep 0.1; done`, "sh", alive)
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "held", func() bool { return exists(alive) })
	shell(t, "ip", "link", "set", alpha.cable, "down")
	out, err := beta.command(repo, "repo", "lock", "backup", "--wait", "3m", "date", "+%s%N").Output()
	if err != nil {
		t.Fatal(err)
	}
	last, _ := os.ReadFile(alive)
	if both := nanoseconds(t, last) - nanoseconds(t, out); both >= 0 {
		t.Errorf("both had the lock, for %d ns", both)
	}
	defer time.AfterFunc(patience, func() { holder.Process.Kill() }).Stop()
	holder.Wait()
	if status := statusOf(holder.ProcessState); status != 128+int(syscall.SIGTERM) {
		t.Errorf("the command of the host that was cut off: status %d", status)
	}
	shell(t, "ip", "link", "set", alpha.cable, "up")
	if out, err := alpha.command(repo, "repo", "lock", "backup", "--wait", "3m", "echo", "back").Output(); err != nil || string(out) != "back\n" {
		t.Errorf("the host that is back: %q, %v", out, err)
	}
	for _, h := range hosts {
		eventually(t, "nothing left on "+h.name, func() bool {
			pids, err := exec.Command("ip", "netns", "pids", h.name).Output()
			return err == nil && len(pids) == 0
		})
	}
}

func nanoseconds(t *testing.T, text []byte) int64 {
	t.Helper()
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

package model

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pgpipes/lib/durable"
	"pgpipes/test/script"
)

const (
	batch       = 8 // segments that wait at a time
	longSoak    = 10000
	shortSoak   = 300
	samples     = 20 // of everything that could grow
	memoryCalls = 100
	mostState   = 40   // files: what is fetched ahead, and a few more
	memorySlack = 2048 // KiB that the last calls may need more than the first
)

// Calls for days leave nothing behind, and need no more at the end than at the
// beginning.
func TestNothingGrows(t *testing.T) {
	count := shortSoak
	if *soak > 0 {
		count = longSoak
	}
	if err := (&growth{t: t, count: count}).run(); err != nil {
		t.Error(err)
	}
}

// A growth is one host that archives and restores for a long time.
type growth struct {
	t      *testing.T
	count  int // of pushes and gets together
	h      *host
	memory map[string][]int64 // by program, in KiB
	took   map[string][]time.Duration
	usage  []usage
}

// A usage is what is in use between two calls.
type usage struct{ descriptors, processes, temporary, state int }

func (g *growth) run() (err error) {
	w := newWorld(0, false)
	defer func() {
		if v, violated := recover().(violation); violated {
			err = errors.New(string(v))
		}
		err = errors.Join(err, w.end())
	}()
	g.h, g.memory, g.took = w.hosts[0], map[string][]int64{}, map[string][]time.Duration{}
	g.h.mounts = g.h.mounts[:1]
	g.h.settings, g.h.getting = []string{"--state", w.states[0]}, []string{"--state", w.states[0]}
	spoke := time.Now()
	for calls := 0; calls < g.count; calls += 2 * batch {
		g.batch()
		if calls*samples/g.count >= len(g.usage) {
			g.sample()
		}
		if time.Since(spoke) > progressEvery {
			spoke = time.Now()
			g.t.Logf("%d of %d calls: %+v", calls, g.count, g.usage[len(g.usage)-1])
		}
	}
	g.sample()
	g.compare()
	return nil
}

// batch archives some segments and restores them.
func (g *growth) batch() {
	w, h := g.h.w, g.h
	var names []string
	for range batch {
		name := h.segment(w.chance)
		h.archive(name)
		names = append(names, name)
	}
	for _, name := range names {
		status := g.call("wal-push", h.data, append(slices.Clone(h.settings), "-r", h.mounts[0].location(), "pg_wal/"+name))
		if status != 0 {
			w.fail("push %s: status %d", name, status)
		}
		h.mounts[0].promise(name, len(h.mounts[0].seen))
		h.done(name)
	}
	h.checkpoint(batch)
	dir := h.recovery(0)
	for _, name := range names {
		status := g.call("wal-get", dir, append(slices.Clone(h.getting), "-r", h.mounts[0].location(), name, "pg_wal/RECOVERYXLOG"))
		if status != 0 {
			w.fail("get %s: status %d", name, status)
		}
		h.delivered(name, filepath.Join(dir, "pg_wal/RECOVERYXLOG"), status)
		delete(h.cluster.files, name)
	}
}

// call runs a program by way of a shell that does not wait for it, not even by
// looking for ended children between two commands. Then it is this process's
// child, but not its fork: the system would count in what memory that had.
func (g *growth) call(program, dir string, args []string) int {
	w := g.h.w
	cmd := exec.Command("/bin/sh", append([]string{"-c", `"$@" >&2 & exec /bin/echo $!`, "sh", filepath.Join(programs(), program)}, args...)...)
	cmd.Dir, cmd.Env = dir, []string{"TMPDIR=" + w.path("tmp")}
	said, err := os.Create(w.path("said", program))
	w.must(err)
	defer said.Close()
	cmd.Stderr = said
	begun := time.Now()
	out, err := cmd.Output()
	w.must(err)
	pid, err := strconv.Atoi(string(bytes.TrimSpace(out)))
	w.must(err)
	var status unix.WaitStatus
	var used unix.Rusage
	_, err = unix.Wait4(pid, &status, 0, &used)
	w.must(err)
	g.memory[program] = append(g.memory[program], used.Maxrss)
	g.took[program] = append(g.took[program], time.Since(begun))
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// sample waits until what goes on in the background is over, and counts.
func (g *growth) sample() {
	w := g.h.w
	w.alone()
	for deadline := time.Now().Add(lingering); len(adopted()) > 0 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond) // those that are just ending cannot be told from others
	}
	u := usage{processes: len(adopted())}
	descriptors, err := os.ReadDir("/proc/self/fd")
	w.must(err)
	u.descriptors = len(descriptors)
	for _, dir := range []string{w.path("tmp"), w.path("disks"), g.h.data, g.h.recovery(0), w.states[0]} {
		files, err := script.Tree(dir)
		w.must(err)
		for _, file := range files {
			if dir == w.path("tmp") || strings.HasPrefix(filepath.Base(file), durable.TemporaryPrefix) {
				u.temporary++
			}
			if dir == w.states[0] {
				u.state++
			}
		}
	}
	g.usage = append(g.usage, u)
}

// compare finds what has grown.
func (g *growth) compare() {
	first, last := g.usage[1], g.usage[len(g.usage)-1]
	g.t.Logf("first %+v, last %+v", first, last)
	if last.descriptors > first.descriptors || last.processes > 0 || last.temporary > 0 || last.state > mostState {
		g.t.Errorf("something grows: %+v", g.usage)
	}
	for program, all := range g.memory {
		n := min(memoryCalls, len(all)/2)
		before, after := median(all[:n]), median(all[len(all)-n:])
		times := g.took[program]
		g.t.Logf("%s: %d calls, median of the first and last %d: %d and %d KiB, %s and %s", program, len(all), n, before, after, median(times[:n]), median(times[len(times)-n:]))
		if after > before+memorySlack {
			g.t.Errorf("%s needs more and more memory: %d KiB, then %d", program, before, after)
		}
	}
}

func median[T int64 | time.Duration](of []T) T {
	return slices.Sorted(slices.Values(of))[len(of)/2]
}

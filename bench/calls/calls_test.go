package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// outline makes the current directory one with a pg_wal and segments in it.
func outline(t *testing.T, segments ...string) *children {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.MkdirAll("pg_wal/archive_status", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range segments {
		if err := os.WriteFile(filepath.Join("pg_wal", name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := adopt()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPush(t *testing.T) {
	c := outline(t, "A", "B")
	latencies, err := playAll(push, c, "test -e pg_wal/archive_status/%f.ready && cat %p >>stored", []string{"A", "B"})
	if err != nil || len(latencies) != 2 {
		t.Fatal(latencies, err)
	}
	if stored, _ := os.ReadFile("stored"); string(stored) != "AB" {
		t.Errorf("stored: %q", stored)
	}
	left, _ := filepath.Glob("pg_wal/archive_status/*")
	if got := strings.Join(left, " "); got != "pg_wal/archive_status/A.done pg_wal/archive_status/B.done" {
		t.Errorf("left: %s", got)
	}
}

func TestPushFails(t *testing.T) {
	c := outline(t, "A")
	if _, err := playAll(push, c, "exit 3", []string{"A"}); err == nil || err.Error() != "A: status 3, not 0" {
		t.Error(err)
	}
	if _, err := os.Stat("pg_wal/archive_status/A.ready"); err != nil {
		t.Error(err)
	}
}

func TestGet(t *testing.T) {
	c := outline(t, "A", "B")
	*like = "pg_wal"
	t.Cleanup(func() { *like = "" })
	if _, err := playAll(get, c, "test ! -e %p && cp pg_wal/%f %p", []string{"A", "B"}); err != nil {
		t.Error(err)
	}
	if _, err := playAll(get, c, "cp pg_wal/A %p", []string{"A", "B"}); err == nil {
		t.Error("another file's contents are as good")
	}
}

// What goes on in the background is waited for, and its time counts.
func TestBackground(t *testing.T) {
	c := outline(t)
	before := c.used().cpu
	status, err := c.shell(`(setsid sh -c 'i=0; while [ $((i += 1)) -lt 100000 ]; do :; done; echo done >late' &) ; exit 7`)
	if err != nil || status != 7 {
		t.Fatal(status, err)
	}
	if err := c.waitAll(patience); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("late"); err != nil {
		t.Error(err)
	}
	if used := c.used().cpu - before; used < 10*time.Millisecond {
		t.Errorf("only %s of CPU", used)
	}
}

// What goes on for too long is ended, and with it what it has started.
func TestEndless(t *testing.T) {
	c := outline(t)
	if _, err := c.shell(`(setsid sh -c 'sleep 600 & sleep 600' &)`); err != nil {
		t.Fatal(err)
	}
	if err := c.waitAll(50 * time.Millisecond); err == nil {
		t.Error("no error")
	}
	if left := c.pids(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := c.shell("true"); err != errEnded {
		t.Error(err)
	}
}

package server_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pgpipes/lib/server"
	"pgpipes/test/pgtest"
)

// connect opens a session that ends with the test.
func connect(t *testing.T, conninfo string) *server.Session {
	t.Helper()
	s, err := server.Connect(t.Context(), conninfo)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// as is the cluster's connection string for another role.
func as(c *pgtest.Cluster, role string) string {
	return strings.Replace(c.ConnInfo(), "user=postgres", "user="+role, 1)
}

func hintOf(err error) string {
	var e *server.Error
	errors.As(err, &e)
	if e == nil {
		return ""
	}
	return e.Hint()
}

func TestInfo(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{Checksums: true, SegmentMB: 1, Conf: []string{
		"archive_mode = on", "archive_command = 'true'", "full_page_writes = off",
	}})
	info := connect(t, c.ConnInfo()).Info()
	if info.Major != c.Major() || fmt.Sprint(info.VersionNum) != c.SQL("SHOW server_version_num") {
		t.Errorf("version %d, major %d", info.VersionNum, info.Major)
	}
	want := c.SQL("SELECT system_identifier, catalog_version_no FROM pg_control_system()")
	if got := fmt.Sprintf("%d|%d", info.SystemID, info.Catalog); got != want {
		t.Errorf("system identifier and catalog %s, want %s", got, want)
	}
	if info.DataDirectory != c.Data || info.SegmentSize != 1<<20 || !info.Checksums || info.InRecovery {
		t.Errorf("%+v", info)
	}
	if info.WALLevel != "replica" || info.FullPageWrites || info.ArchiveMode != "on" || info.ArchiveCommand != server.Yes {
		t.Errorf("%+v", info)
	}
	if age := time.Since(info.PostmasterStart); age < 0 || age > time.Hour {
		t.Errorf("started %v", info.PostmasterStart)
	}
}

// A plain role learns everything but what it may not see.
func TestPlainRole(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{Conf: []string{"archive_mode = on", "archive_command = 'true'"}})
	c.SQL("CREATE ROLE plain LOGIN")
	s := connect(t, as(c, "plain"))
	info := s.Info()
	if info.DataDirectory != "" || info.SystemID == 0 || info.ArchiveMode != "on" || info.ArchiveCommand == server.No {
		t.Errorf("%+v", info)
	}
	_, err := s.StartBackup(t.Context(), "l", true)
	if err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Fatalf("start: %v", err)
	}
	// The hint is the cure.
	_, grant, _ := strings.Cut(hintOf(err), ": ")
	c.SQL(grant)
	for _, ask := range []func() error{
		func() error { _, err := s.NewSegment(t.Context(), "text"); return err },
		func() error { _, err := s.StartBackup(t.Context(), "l", true); return err },
		func() error { _, err := s.ArchiverStats(t.Context()); return err },
		func() error { _, err := s.CurrentTimeline(t.Context()); return err },
		func() error { return s.Alive(t.Context()) },
		func() error { _, err := s.StopBackup(t.Context(), false); return err },
	} {
		if err := ask(); err != nil {
			t.Error(err)
		}
	}
}

func TestBackup(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{Conf: []string{"archive_mode = on", "archive_command = 'true'"}})
	tablespace := filepath.Join(pgtest.TempDir(t), "t s")
	c.Run("mkdir", tablespace)
	c.SQL("CREATE TABLESPACE ts LOCATION '" + tablespace + "'")

	s := connect(t, c.ConnInfo())
	if _, err := s.StopBackup(t.Context(), false); !errors.Is(err, server.ErrNoBackup) {
		t.Errorf("stop before start: %v", err)
	}
	record, err := s.NewSegment(t.Context(), "text")
	if err != nil {
		t.Fatal(err)
	}
	label := `it's "quoted" \ and täglich`
	start, err := s.StartBackup(t.Context(), label, true)
	if err != nil {
		t.Fatal(err)
	}
	// The message was something to switch from.
	if size := s.Info().SegmentSize; size.Number(record) >= size.Number(start) {
		t.Errorf("message at %v, start at %v: the same segment", record, start)
	}
	if _, err := s.StartBackup(t.Context(), label, true); !errors.Is(err, server.ErrInProgress) {
		t.Errorf("second start: %v", err)
	}
	if err := s.Alive(t.Context()); err != nil {
		t.Error(err)
	}
	stop, err := s.StopBackup(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	if stop.LSN <= start {
		t.Errorf("start %v, stop %v", start, stop.LSN)
	}
	text := string(stop.Label)
	if !strings.HasPrefix(text, "START WAL LOCATION: "+start.String()+" (file ") || !strings.Contains(text, "\nLABEL: "+label+"\n") {
		t.Errorf("label:\n%s", text)
	}
	if got := string(stop.TablespaceMap); !strings.HasSuffix(got, " "+tablespace+"\n") {
		t.Errorf("tablespace map %q", got)
	}
}

// Nothing that a role or a database may have been given disturbs the session.
func TestHostileRole(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{Conf: []string{"archive_mode = on", "archive_command = 'sleep 0.3'"}})
	c.SQL("CREATE ROLE hostile SUPERUSER LOGIN")
	for _, setting := range []string{
		"search_path = trap, pg_catalog", "client_encoding = 'UTF8'", "standard_conforming_strings = off",
		"DateStyle = 'German'", "statement_timeout = '100ms'", "lock_timeout = '100ms'",
		"idle_in_transaction_session_timeout = '100ms'", "default_transaction_isolation = 'serializable'",
		"default_transaction_deferrable = on", "default_transaction_read_only = on", "bytea_output = 'escape'",
		"idle_session_timeout = '100ms'", "transaction_timeout = '100ms'",
	} {
		name, _, _ := strings.Cut(setting, " ")
		if c.SQL("SELECT count(*) FROM pg_settings WHERE lower(name) = lower('"+name+"')") == "1" {
			c.SQL("ALTER ROLE hostile SET " + setting)
		}
	}
	c.SQL(`CREATE SCHEMA trap;
		CREATE FUNCTION trap.pg_is_in_recovery() RETURNS bool LANGUAGE sql AS 'SELECT true';
		CREATE FUNCTION trap.floor(float8) RETURNS float8 LANGUAGE sql AS 'SELECT 0::float8';
		CREATE VIEW trap.pg_stat_archiver AS SELECT 1`)
	s := connect(t, as(c, "hostile"))
	if s.Info().InRecovery || s.Info().PostmasterStart.Year() < 2000 {
		t.Errorf("%+v", s.Info())
	}
	if _, err := s.StartBackup(t.Context(), `a\b`, true); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond) // longer than every time-out above
	if err := s.Alive(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ArchiverStats(t.Context()); err != nil {
		t.Error(err)
	}
	stop, err := s.StopBackup(t.Context(), true)
	if err != nil || !strings.Contains(string(stop.Label), "LABEL: a\\b\n") {
		t.Errorf("%q, %v", stop.Label, err)
	}
}

func TestArchiver(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{Conf: []string{
		"archive_mode = on",
		// Fails until the file is there.
		"archive_command = 'test -e go'",
	}})
	s := connect(t, c.ConnInfo())
	before, err := s.ArchiverStats(t.Context())
	if err != nil || before.Archived != 0 || before.LastArchived != "" || !before.LastArchivedTime.IsZero() {
		t.Errorf("fresh: %+v, %v", before, err)
	}
	name := c.SQL("SELECT pg_walfile_name(pg_switch_wal())")
	c.Until("SELECT failed_count > 0 FROM pg_stat_archiver", "t")
	failed, err := s.ArchiverStats(t.Context())
	if err != nil || failed.Failed == 0 || failed.LastFailed != name || time.Since(failed.LastFailedTime) > time.Minute {
		t.Errorf("failed: %+v, %v", failed, err)
	}
	c.Run("touch", filepath.Join(c.Data, "go"))
	c.SQL("SELECT pg_switch_wal()")
	c.Until("SELECT archived_count > 0 FROM pg_stat_archiver", "t")
	done, err := s.ArchiverStats(t.Context())
	if err != nil || done.Archived == 0 || done.LastArchived < name || done.LastArchivedTime.Before(failed.LastFailedTime) {
		t.Errorf("archived: %+v, %v", done, err)
	}
}

// A stop that waits for a broken archiver says so by notices, ends when its
// context does, and leaves no session behind.
func TestStopIsCancelled(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{Conf: []string{"archive_mode = on", "archive_command = 'false'"}})
	s := connect(t, c.ConnInfo())
	var mu sync.Mutex
	var notices []string
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.OnNotice(func(severity, message string) {
		mu.Lock()
		defer mu.Unlock()
		notices = append(notices, severity+" "+message)
		cancel() // it waits now
	})
	if _, err := s.StartBackup(ctx, "l", true); err != nil {
		t.Fatal(err)
	}
	_, err := s.StopBackup(ctx, true)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("stop: %v", err)
	}
	mu.Lock()
	if len(notices) == 0 || !strings.HasPrefix(notices[0], "NOTICE ") {
		t.Errorf("notices %q", notices)
	}
	mu.Unlock()
	began := time.Now()
	s.Close()
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("close took %v", took)
	}
	c.Until("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgpipes'", "0")
	if err := s.Alive(t.Context()); err == nil {
		t.Error("alive after the end")
	}
}

// Close ends a question that another goroutine waits for.
func TestCloseInterrupts(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{Conf: []string{"archive_mode = on", "archive_command = 'false'"}})
	s := connect(t, c.ConnInfo())
	if _, err := s.StartBackup(t.Context(), "l", true); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { _, err := s.StopBackup(t.Context(), true); done <- err }()
	c.Until("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgpipes' AND state = 'active'", "1")
	if err := s.Alive(t.Context()); err != nil {
		t.Errorf("alive while stop waits: %v", err)
	}
	s.Close()
	s.Close()
	if err := <-done; err == nil {
		t.Error("stop did not fail")
	}
}

func TestServerGoesAway(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{})
	s := connect(t, c.ConnInfo())
	if _, err := s.StartBackup(t.Context(), "l", true); err != nil {
		t.Fatal(err)
	}
	c.Stop("fast")
	c.Start()
	if err := s.Alive(t.Context()); err == nil {
		t.Error("alive after a restart")
	}
	if _, err := s.StopBackup(t.Context(), false); err == nil {
		t.Error("stop after a restart")
	}
	c.Stop("fast")
	_, err := server.Connect(t.Context(), c.ConnInfo())
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(hintOf(err), "PGHOST") {
		t.Errorf("connect to nothing: %v (%s)", err, hintOf(err))
	}
}

func TestWALLevelMinimal(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{Conf: []string{"wal_level = minimal", "max_wal_senders = 0"}})
	s := connect(t, c.ConnInfo())
	_, err := s.StartBackup(t.Context(), "l", true)
	if err == nil || !strings.Contains(hintOf(err), "wal_level is minimal") {
		t.Errorf("%v (%s)", err, hintOf(err))
	}
}

func TestConnectErrors(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{})
	for conninfo, want := range map[string]string{
		c.ConnInfo() + " dbname=none": "PGDATABASE",
		as(c, "nobody"):               "the role is nobody",
	} {
		_, err := server.Connect(t.Context(), conninfo)
		if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(hintOf(err), want) {
			t.Errorf("%s: %v (%s)", conninfo, err, hintOf(err))
		}
	}
}

// A standby: backed up, promoted in the middle.
func TestStandby(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{Conf: []string{"default_transaction_isolation = 'serializable'"}})
	s := connect(t, c.Standby().ConnInfo())
	if !s.Info().InRecovery || s.Info().SystemID != connect(t, c.ConnInfo()).Info().SystemID {
		t.Errorf("%+v", s.Info())
	}
	if _, err := s.NewSegment(t.Context(), "text"); !errors.Is(err, server.ErrRecovery) {
		t.Errorf("message: %v", err)
	}
	if tli, err := s.CurrentTimeline(t.Context()); err != nil || tli != 1 {
		t.Errorf("timeline %v, %v", tli, err)
	}
	start, err := s.StartBackup(t.Context(), "l", true)
	if err != nil {
		t.Fatal(err)
	}
	stop, err := s.StopBackup(t.Context(), true)
	if err != nil || stop.LSN < start || !strings.Contains(string(stop.Label), "BACKUP FROM: standby\n") {
		t.Errorf("%v, %v, %s", stop.LSN, err, stop.Label)
	}
}

func TestPromotion(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{})
	standby := c.Standby()
	s := connect(t, standby.ConnInfo())
	if _, err := s.StartBackup(t.Context(), "l", true); err != nil {
		t.Fatal(err)
	}
	standby.SQL("SELECT pg_promote()")
	if err := s.Alive(t.Context()); !errors.Is(err, server.ErrPromoted) {
		t.Errorf("alive: %v", err)
	}
	if _, err := s.StopBackup(t.Context(), false); err == nil {
		t.Error("the backup of a promoted standby ended well")
	}
	if tli, err := connect(t, standby.ConnInfo()).CurrentTimeline(t.Context()); err != nil || tli != 2 {
		t.Errorf("timeline %v, %v", tli, err)
	}
}

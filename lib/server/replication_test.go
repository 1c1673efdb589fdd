package server_test

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/server"
	"pgpipes/test/pgtest"
)

// replicate opens a replication connection that ends with the test.
func replicate(t *testing.T, conninfo string) *server.Replication {
	t.Helper()
	r, err := server.ConnectReplication(t.Context(), conninfo)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// contents reads a backup to its end: the members of each archive, and the
// contents of those that wanted names.
type contents struct {
	members  map[string][]string
	kept     map[string][]byte
	manifest []string // paths
	ranges   []manifest.WALRange
}

func readBackup(t *testing.T, b *server.BaseBackup) contents {
	t.Helper()
	c := contents{members: map[string][]string{}, kept: map[string][]byte{}}
	for {
		s, err := b.Next()
		if err == io.EOF {
			return c
		}
		if err == nil {
			err = c.read(s, b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (c *contents) read(s server.Sent, b io.Reader) error {
	if s.Name == server.SentManifest {
		m, err := manifest.ReadServerManifest(b, func(f manifest.ServerFile) error {
			c.manifest = append(c.manifest, f.Path)
			return nil
		})
		c.ranges = m.WALRanges
		return err
	}
	in := tar.NewReader(b)
	for {
		h, err := in.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		c.members[s.Name] = append(c.members[s.Name], strings.TrimPrefix(h.Name, "./"))
		text, err := io.ReadAll(in)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", s.Name, h.Name, err)
		}
		if len(text) <= 8192 {
			c.kept[h.Name] = text
		}
	}
}

func TestReplicationIdentity(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{Checksums: true, SegmentMB: 1})
	want := connect(t, c.ConnInfo()).Info()
	got := replicate(t, c.ConnInfo()).Identity()
	if got.SystemID != want.SystemID || got.VersionNum != want.VersionNum || got.Major != want.Major || got.SegmentSize != want.SegmentSize || got.Checksums != want.Checksums {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got.Timeline != 1 || got.BlockSize != 8192 || got.RelationSegment != 1<<30 || got.DataMode != 0o700 {
		t.Errorf("%+v", got)
	}
}

func TestBaseBackup(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{})
	space := filepath.Join(pgtest.TempDir(t), "t s")
	c.Run("mkdir", space)
	c.SQL("CREATE TABLESPACE ts LOCATION '" + space + "'")
	c.SQL("CREATE TABLE t TABLESPACE ts AS SELECT generate_series(1, 10000) n")
	oid := c.SQL("SELECT oid FROM pg_tablespace WHERE spcname = 'ts'")

	r := replicate(t, c.ConnInfo())
	b, err := r.BaseBackup(t.Context(), server.BaseBackupOptions{Label: "it's", Fast: true, Progress: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(b.Tablespaces); got != "[{"+oid+" "+space+"}]" || b.Size < 1<<20 || b.Timeline != 1 {
		t.Errorf("tablespaces %s, %d bytes, timeline %d", got, b.Size, b.Timeline)
	}
	all := readBackup(t, b)
	end, err := b.End()
	if err != nil {
		t.Fatal(err)
	}
	label, err := pgdata.ParseLabel(all.kept["backup_label"])
	if err != nil || label.StartLSN != b.Start || label.Label != "it's" || end.LSN <= b.Start || end.Timeline != 1 {
		t.Errorf("%+v, %v; start %s, end %+v", label, err, b.Start, end)
	}
	if len(all.ranges) != 1 || all.ranges[0].Start != b.Start || all.ranges[0].End != end.LSN {
		t.Errorf("ranges %+v, start %s, end %+v", all.ranges, b.Start, end)
	}
	base := all.members["base.tar"]
	if len(base) == 0 || base[0] != "backup_label" || base[1] != "tablespace_map" || len(all.kept["global/pg_control"]) != 8192 {
		t.Errorf("%d members in base.tar: %.3q", len(base), base)
	}
	if len(all.members[oid+".tar"]) < 3 || len(all.manifest) < 500 {
		t.Errorf("tablespace %q, %d files in the manifest", all.members[oid+".tar"], len(all.manifest))
	}
	if _, err := r.BaseBackup(t.Context(), server.BaseBackupOptions{Label: "again", Fast: true}); err != nil {
		t.Errorf("a second one: %v", err)
	}
}

// WAL can come with the data directory, and the server keeps to a rate.
func TestBaseBackupWithWAL(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{SegmentMB: 1})
	r := replicate(t, c.ConnInfo())
	b, err := r.BaseBackup(t.Context(), server.BaseBackupOptions{Label: "l", Fast: true, WAL: true, Algorithm: "SHA256"})
	if err != nil {
		t.Fatal(err)
	}
	all := readBackup(t, b)
	end, err := b.End()
	if err != nil {
		t.Fatal(err)
	}
	size := r.Identity().SegmentSize
	last := "pg_wal/" + size.Name(1, size.LastNumber(end.LSN))
	if got := strings.Join(all.members["base.tar"], "\n"); !strings.Contains(got, last) {
		t.Errorf("no %s", last)
	}
}

func TestServerSideCompression(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{})
	r := replicate(t, c.ConnInfo())
	b, err := r.BaseBackup(t.Context(), server.BaseBackupOptions{Label: "l", Fast: true, Compression: "gzip", Level: 1})
	if c.Major() < 15 {
		if err == nil || !strings.Contains(err.Error(), "since 15") {
			t.Errorf("%v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := b.Next()
	magic := make([]byte, 2)
	if _, rerr := io.ReadFull(b, magic); s.Name != "base.tar.gz" || err != nil || rerr != nil || string(magic) != "\x1f\x8b" {
		t.Errorf("%+v, %v, %q, %v", s, err, magic, rerr)
	}
	if end, err := b.End(); end.LSN <= b.Start || err != nil {
		t.Errorf("%+v, %v", end, err)
	}
}

// A page with a wrong checksum fails the backup at its very end; what the end
// is, is known nevertheless.
func TestBaseBackupOfBadPage(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{Checksums: true})
	c.SQL("CREATE TABLE t AS SELECT generate_series(1, 10000) n")
	c.SQL("CHECKPOINT")
	file := filepath.Join(c.Data, c.SQL("SELECT pg_relation_filepath('t')"))
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("damage"), 2*8192+5000); err != nil {
		t.Fatal(err)
	}
	r := replicate(t, c.ConnInfo())
	var warned []string
	r.OnNotice(func(severity, message string) { warned = append(warned, severity+" "+message) })
	b, err := r.BaseBackup(t.Context(), server.BaseBackupOptions{Label: "l", Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	if all := readBackup(t, b); len(all.manifest) < 500 {
		t.Errorf("%d files in the manifest", len(all.manifest))
	}
	end, err := b.End()
	if !errors.Is(err, server.ErrChecksums) || end.LSN <= b.Start {
		t.Errorf("%+v, %v", end, err)
	}
	if len(warned) == 0 || !strings.Contains(strings.Join(warned, "\n"), "block 2") {
		t.Errorf("%q", warned)
	}
	r = replicate(t, c.ConnInfo())
	b, err = r.BaseBackup(t.Context(), server.BaseBackupOptions{Label: "l", Fast: true, NoVerify: true})
	if err == nil {
		_, err = b.End()
	}
	if err != nil {
		t.Error(err)
	}
}

// The end of the context ends a backup, wherever it is, and nothing stays behind
// in the server.
func TestBaseBackupIsCancelled(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{Conf: []string{"checkpoint_timeout = 1h"}})
	c.SQL("CREATE TABLE t AS SELECT generate_series(1, 300000) n")
	for name, o := range map[string]server.BaseBackupOptions{
		"at the checkpoint": {Label: "l"},
		"while sending":     {Label: "l", Fast: true, MaxRate: 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			c.SQL("UPDATE t SET n = n + 1") // a checkpoint with nothing to write is soon done
			r := replicate(t, c.ConnInfo())
			ctx, cancel := context.WithCancelCause(t.Context())
			why := errors.New("enough")
			time.AfterFunc(500*time.Millisecond, func() { cancel(why) })
			b, err := r.BaseBackup(ctx, o)
			if err == nil {
				_, err = b.End()
			}
			if !errors.Is(err, why) {
				t.Errorf("%v", err)
			}
			began := time.Now()
			r.Close()
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("close took %s", took)
			}
			c.Until("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgpipes'", "0")
		})
	}
}

func TestServerEndsDuringBaseBackup(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{})
	c.SQL("CREATE TABLE t AS SELECT generate_series(1, 300000) n")
	r := replicate(t, c.ConnInfo())
	b, err := r.BaseBackup(t.Context(), server.BaseBackupOptions{Label: "l", Fast: true, MaxRate: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	c.Kill()
	if end, err := b.End(); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("%+v, %v", end, err)
	}
	if _, err := b.Next(); err == nil || err == io.EOF {
		t.Errorf("after the end: %v", err)
	}
}

// A standby that is promoted during a backup fails it.
func TestBaseBackupOfPromotedStandby(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{})
	c.SQL("CREATE TABLE t AS SELECT generate_series(1, 300000) n")
	standby := c.Standby()
	r := replicate(t, standby.ConnInfo())
	b, err := r.BaseBackup(t.Context(), server.BaseBackupOptions{Label: "l", Fast: true, MaxRate: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	standby.SQL("SELECT pg_promote()")
	if _, err := b.End(); err == nil || !strings.Contains(err.Error(), "promoted") {
		t.Errorf("%v", err)
	}
	promoted := replicate(t, standby.ConnInfo())
	if got := promoted.Identity().Timeline; got != 2 {
		t.Errorf("timeline %d", got)
	}
	text, err := promoted.History(t.Context(), 2)
	if err != nil || !strings.HasPrefix(string(text), "1\t") {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := promoted.History(t.Context(), 3); err == nil {
		t.Error("a history that nobody has")
	}
}

func TestReplicationRights(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{})
	c.SQL("CREATE ROLE plain LOGIN")
	_, err := server.ConnectReplication(t.Context(), as(c, "plain"))
	if err == nil || !strings.Contains(hintOf(err), `ALTER ROLE "plain" REPLICATION`) {
		t.Errorf("%v (%s)", err, hintOf(err))
	}
	c.SQL("ALTER ROLE plain REPLICATION")
	r := replicate(t, as(c, "plain"))
	b, err := r.BaseBackup(t.Context(), server.BaseBackupOptions{Label: "l", Fast: true})
	if err == nil {
		_, err = b.End()
	}
	if err != nil {
		t.Error(err)
	}
}

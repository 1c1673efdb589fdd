package backup_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/backup"
	"pgpipes/lib/inspect"
	"pgpipes/lib/manifest"
	"pgpipes/lib/server"
	"pgpipes/lib/wal"
	"pgpipes/test/pgtest"
)

// receiving are the options for a backup of a cluster without an archive.
func receiving(t *testing.T, c *pgtest.Cluster) backup.ReceiveOptions {
	t.Helper()
	r, err := server.ConnectReplication(t.Context(), c.ConnInfo())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	o := backup.ReceiveOptions{Replication: r}
	o.Label, o.Fast, o.Unchecked, o.Warn = "l", true, true, t.Logf
	return o
}

// What a server sends becomes a stream that is what its manifest says.
func TestReceive(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{Checksums: true, SegmentMB: 1})
	c.SQL("CREATE TABLE t AS SELECT generate_series(1, 300000) n")
	o := receiving(t, c)
	var done, total int64
	o.Progress = func(d, all int64) { done, total = d, all }
	var stream, listed bytes.Buffer
	copied, err := backup.Receive(t.Context(), &stream, o)
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	if err := copied.WriteManifest(&listed); err != nil {
		t.Fatal(err)
	}
	for d, err := range inspect.VerifyStream(t.Context(), &stream, &listed) {
		t.Errorf("%s, %v", d, err)
	}
	h := copied.Header
	if h.From != "primary" || h.Major != c.Major() || h.Catalog == 0 || h.StopLSN <= h.StartLSN || h.StopTimeline != 1 || !h.Checksums || h.SegmentSize != 1<<20 {
		t.Errorf("%+v", h)
	}
	if done < 10<<20 || total < done/2 || total > done*2 {
		t.Errorf("%d of %d bytes", done, total)
	}
}

// full is a disk that is.
type full struct{ left int }

var errFull = errors.New("full")

func (f *full) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestReceiveAndFail(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{})
	c.SQL("CREATE TABLE t AS SELECT generate_series(1, 300000) n")
	stop, cancel := context.WithCancel(t.Context())
	cancel()
	tests := map[string]struct {
		ctx  context.Context
		out  io.Writer
		a    *archive
		want error
	}{
		"full":      {t.Context(), &full{left: 5 << 20}, nil, errFull},
		"at once":   {t.Context(), &full{}, nil, errFull},
		"cancelled": {stop, io.Discard, nil, context.Canceled},
		"taken":     {t.Context(), io.Discard, &archive{begin: errFull}, errFull},
		"recorded":  {t.Context(), &full{}, &archive{}, errFull},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			o := receiving(t, c)
			if test.a != nil {
				o.Archive = test.a
			}
			if _, err := backup.Receive(test.ctx, test.out, o); !errors.Is(err, test.want) {
				t.Error(err)
			}
			if test.a != nil && test.a.begin == nil && test.a.calls != "histories 1, begin l, abort l, " {
				t.Error(test.a.calls)
			}
			o.Replication.Close()
			c.Until("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgpipes'", "0")
		})
	}
	o := receiving(t, c)
	for _, label := range []string{"../x", "last"} {
		o.Label = label
		if _, err := backup.Receive(t.Context(), io.Discard, o); !errors.Is(err, backup.ErrLabel) {
			t.Errorf("%s: %v", label, err)
		}
	}
}

// archive notes what it is asked.
type archive struct {
	begin error
	calls string
}

func (a *archive) Begin(_ context.Context, h manifest.Header, _ *manifest.Header) error {
	a.calls += "begin " + h.Label + ", "
	return a.begin
}

func (a *archive) Abort(_ context.Context, label string) error {
	a.calls += "abort " + label + ", "
	return nil
}

func (a *archive) StoreHistories(_ context.Context, _ string, tli wal.Timeline) error {
	a.calls += "histories " + strings.TrimLeft(tli.String(), "0") + ", "
	return nil
}

func (a *archive) FirstMissing(context.Context, wal.Timeline, uint64, uint64) (string, error) {
	return "", nil
}

func (a *archive) Holds(context.Context, wal.Timeline, uint64, uint64, string) (bool, error) {
	return true, nil
}

// Before 16 a server sends nothing of a tablespace that lies in its data
// directory; that is refused.
func TestReceiveInPlaceTablespace(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{})
	if c.SQL("SELECT count(*) FROM pg_settings WHERE name = 'allow_in_place_tablespaces'") == "0" {
		return // there are none
	}
	c.SQL("ALTER ROLE postgres SET allow_in_place_tablespaces = on")
	c.SQL("CREATE TABLESPACE inside LOCATION ''")
	c.SQL("CREATE TABLE t TABLESPACE inside AS SELECT 1 AS n")
	s, err := server.Connect(t.Context(), c.ConnInfo())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	o := receiving(t, c)
	o.Session = s
	o.Patience = time.Second
	var stream, listed bytes.Buffer
	copied, err := backup.Receive(t.Context(), &stream, o)
	if c.Major() < 16 {
		if err == nil || !strings.Contains(err.Error(), "tablespace inside lies in the data directory") {
			t.Error(err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	if err := copied.WriteManifest(&listed); err != nil {
		t.Fatal(err)
	}
	if name := c.SQL("SELECT pg_relation_filepath('t')"); !strings.Contains(listed.String(), "\t"+name+"\n") {
		t.Errorf("no %s", name)
	}
	for d, err := range inspect.VerifyStream(t.Context(), &stream, &listed) {
		t.Errorf("%s, %v", d, err)
	}
}

// Package pgtest runs scratch PostgreSQL clusters for tests.
//
// A cluster lives in a temporary directory of its own, listens only on a Unix
// socket there, and is stopped and removed when the test ends. The programs
// come from $PGBIN, otherwise from the newest /usr/lib/postgresql/*/bin. As
// PostgreSQL refuses to run as root, a test that runs as root has everything
// owned and run by the user postgres. A missing PostgreSQL fails the test: a
// test that needs the server never passes without it.
package pgtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
)

// Options are what a new cluster is made with.
type Options struct {
	Checksums bool     // data page checksums on; false means off, in every major
	SegmentMB int      // --wal-segsize; 0 is the default of 16
	Conf      []string // lines appended to postgresql.conf
	Stopped   bool     // do not start it yet
}

// Cluster is one scratch cluster. Its methods end the test on failure unless
// they return an error.
type Cluster struct {
	Data   string // the data directory
	Socket string // the directory of its Unix socket
	Port   int

	t       testing.TB
	dir     string // holds Socket and the log
	account account
	bin     string
	server  *server // nil while it is not running
	shared  []int   // memory that killed servers may have left
}

var lastPort atomic.Int32

// New makes a cluster by initdb and starts it.
func New(t testing.TB, o Options) *Cluster {
	t.Helper()
	dir := TempDir(t)
	c := attach(t, filepath.Join(dir, "data"), dir)
	args := []string{"-D", c.Data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"}
	if o.Checksums {
		args = append(args, "--data-checksums")
	} else if c.Major() >= 18 {
		args = append(args, "--no-data-checksums")
	}
	if o.SegmentMB != 0 {
		args = append(args, "--wal-segsize="+strconv.Itoa(o.SegmentMB))
	}
	c.Run("initdb", args...)
	// The kernel does not crash in these tests, so nothing is lost by not syncing.
	c.Configure("fsync = off")
	c.Configure(o.Conf...)
	if !o.Stopped {
		c.Start()
	}
	return c
}

// Attach makes a cluster of an existing data directory, for instance a
// restored one, and does not start it. The directory stays the caller's.
func Attach(t testing.TB, data string) *Cluster {
	t.Helper()
	return attach(t, data, TempDir(t))
}

func attach(t testing.TB, data, dir string) *Cluster {
	t.Helper()
	c := &Cluster{
		Data:    data,
		Socket:  filepath.Join(dir, "s"),
		Port:    54000 + int(lastPort.Add(1)),
		t:       t,
		dir:     dir,
		account: currentAccount(t),
		bin:     binDir(t),
	}
	c.account.mkdir(t, c.Socket)
	t.Cleanup(c.end)
	return c
}

// Standby makes a streaming standby of c and starts it. c is stopped while its
// data directory is copied, and then runs again; it keeps the WAL that the standby
// may not have yet.
func (c *Cluster) Standby(conf ...string) *Cluster {
	c.t.Helper()
	c.Stop("fast")
	dir := TempDir(c.t)
	s := attach(c.t, filepath.Join(dir, "data"), dir)
	c.Run("cp", "-a", c.Data, s.Data)
	s.ownTablespaces(dir)
	c.Configure("wal_keep_size = 512MB")
	c.Start()
	s.Run("touch", filepath.Join(s.Data, "standby.signal"))
	s.Configure(fmt.Sprintf("primary_conninfo = '%s'", c.ConnInfo()))
	s.Configure(conf...)
	s.Start()
	return s
}

// ownTablespaces gives a copy of a cluster tablespaces of its own.
func (c *Cluster) ownTablespaces(dir string) {
	c.t.Helper()
	links, err := filepath.Glob(filepath.Join(c.Data, "pg_tblspc", "[0-9]*"))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, link := range links {
		own := filepath.Join(dir, "space "+filepath.Base(link))
		c.Run("cp", "-a", link+"/.", own)
		c.Run("ln", "-sfn", own, link)
	}
}

// Configure appends lines to postgresql.conf; a running server does not notice.
func (c *Cluster) Configure(lines ...string) {
	c.t.Helper()
	f, err := os.OpenFile(filepath.Join(c.Data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	for _, line := range lines {
		if _, err := fmt.Fprintln(f, line); err != nil {
			c.t.Fatal(err)
		}
	}
}

// ConnInfo is a libpq connection string for the superuser postgres.
func (c *Cluster) ConnInfo() string {
	return fmt.Sprintf("host=%s port=%d user=postgres dbname=postgres", c.Socket, c.Port)
}

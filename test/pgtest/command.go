package pgtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// installed is where Debian puts the programs of each major.
const installed = "/usr/lib/postgresql/*/bin"

// binDir is the directory of the server's programs.
func binDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("PGBIN")
	if dir == "" {
		dir = newest()
	}
	if _, err := os.Stat(filepath.Join(dir, "postgres")); dir == "" || err != nil {
		t.Fatalf("pgtest: no PostgreSQL in $PGBIN (%q) nor in %s", os.Getenv("PGBIN"), installed)
	}
	return dir
}

// newest is the installed bin directory of the highest major, or "".
func newest() string {
	dirs, _ := filepath.Glob(installed)
	major := func(dir string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
		return n
	}
	slices.SortFunc(dirs, func(a, b string) int { return major(a) - major(b) })
	if len(dirs) == 0 {
		return ""
	}
	return dirs[len(dirs)-1]
}

// Major is the major version of the server's programs.
func (c *Cluster) Major() int {
	c.t.Helper()
	out := c.Run("postgres", "--version") // postgres (PostgreSQL) 15.18 (Debian ...)
	var major int
	if _, err := fmt.Sscanf(out, "postgres (PostgreSQL) %d", &major); err != nil {
		c.t.Fatalf("pgtest: %q: %v", out, err)
	}
	return major
}

// Command is a command that runs as the cluster's user, in its own directory,
// with an environment made from scratch: PATH has the tools (if BuildTools was
// called) and PostgreSQL's programs, PG* lead to the cluster. It dies with the
// test.
func (c *Cluster) Command(name string, args ...string) *exec.Cmd {
	path := strings.Join([]string{tools.path(), c.bin, newest(), "/usr/local/bin:/usr/bin:/bin"}, ":")
	path = strings.Trim(path, ":")
	cmd := exec.Command(lookPath(name, path), args...)
	cmd.Args[0] = name
	cmd.Dir = c.dir
	cmd.Env = []string{
		"PATH=" + path, "HOME=" + c.dir, "LC_ALL=C", "TZ=UTC", "PGPIPES_STATE=" + filepath.Join(c.dir, "state"),
		"PGHOST=" + c.Socket, "PGPORT=" + strconv.Itoa(c.Port), "PGUSER=postgres", "PGDATABASE=postgres",
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.account.credential, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// lookPath finds a program in a search path that is not this process's own.
// The server wants to be called by its full path, to find its libraries.
func lookPath(name, path string) string {
	if strings.Contains(name, "/") {
		return name
	}
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return file
		}
	}
	return name
}

// Run runs a command to its end and returns its standard output without the
// last newline.
func (c *Cluster) Run(name string, args ...string) string {
	c.t.Helper()
	out, err := output(c.Command(name, args...))
	if err != nil {
		c.t.Fatalf("pgtest: %s %s: %v", name, strings.Join(args, " "), err)
	}
	return out
}

// SQL runs a query as superuser by psql and returns its rows, columns parted by "|".
func (c *Cluster) SQL(query string) string {
	c.t.Helper()
	out, err := c.TrySQL(query)
	if err != nil {
		c.t.Fatalf("pgtest: %s: %v", query, err)
	}
	return out
}

// TrySQL is SQL for a query that may fail.
func (c *Cluster) TrySQL(query string) (string, error) {
	return output(c.Command("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", query))
}

// Until waits until a query returns the wanted rows.
func (c *Cluster) Until(query, want string) {
	c.t.Helper()
	var got string
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if got, err = c.TrySQL(query); err == nil && got == want {
			return
		}
	}
	c.t.Fatalf("pgtest: %s: still %q (%v), want %q\n%s", query, got, err, want, c.Log())
}

func output(cmd *exec.Cmd) (string, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSuffix(string(out), "\n"), err
}

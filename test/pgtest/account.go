package pgtest

import (
	"os"
	"os/user"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// account is who runs the servers: user postgres when the test is root, who
// must not run one, otherwise whoever runs the test.
type account struct {
	credential *syscall.Credential // nil: the current user
}

func currentAccount(t testing.TB) account {
	t.Helper()
	if os.Geteuid() != 0 {
		return account{}
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatalf("pgtest: running as root, and there is no user to run PostgreSQL as: %v", err)
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	return account{&syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// own hands a file over to the account.
func (a account) own(t testing.TB, path string) {
	t.Helper()
	if a.credential == nil {
		return
	}
	if err := os.Lchown(path, int(a.credential.Uid), int(a.credential.Gid)); err != nil {
		t.Fatal(err)
	}
}

func (a account) mkdir(t testing.TB, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	a.own(t, path)
}

// leaving is how long what was begun in the background may take to end.
const leaving = 20 * time.Second

// TempDir makes a directory that belongs to the user the servers run as, and
// removes it when the test ends. Unlike t.TempDir's, it can be reached by that
// user, and its path is short enough for a socket (about 107 bytes).
func TempDir(t testing.TB) string {
	t.Helper()
	parent := "/var/tmp"
	if _, err := os.Stat(parent); err != nil {
		parent = os.TempDir()
	}
	dir, err := os.MkdirTemp(parent, "pgpipes")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := os.RemoveAll(dir)
		for deadline := time.Now().Add(leaving); err != nil && time.Now().Before(deadline); err = os.RemoveAll(dir) {
			time.Sleep(50 * time.Millisecond)
		}
		if err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	currentAccount(t).own(t, dir)
	return dir
}

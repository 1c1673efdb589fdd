package store_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"pgpipes/lib/lock"
)

// openOf opens a store in a directory of somebody's, which he can get at.
func openOf(t *testing.T, owner int) dir {
	t.Helper()
	d := open(t, t.TempDir())
	if err := errors.Join(os.Chmod(filepath.Dir(d.root), 0o755), os.Chown(d.root, owner, owner)); err != nil {
		t.Fatal(err)
	}
	return d
}

const nobody = 65534

// What root leaves in a repository does not lock its owner out.
func TestDirOfAnotherOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can store in the place of another")
	}
	for name, owner := range map[string]int{"another's": nobody, "root's": 0} {
		t.Run(name, func(t *testing.T) {
			d := openOf(t, owner)
			d.put(t, "k", "x")
			d.put(t, "a/b/k", "x")
			l, err := lock.AcquireIn(t.Context(), d.Store.(lock.Files), "backup", "test", 0)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Release()
			seen := 0
			err = filepath.WalkDir(d.root, func(path string, e fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				info, err := e.Info()
				if err != nil {
					return err
				}
				if s := info.Sys().(*syscall.Stat_t); int(s.Uid) != owner || int(s.Gid) != owner {
					t.Errorf("%s is of %d:%d", path, s.Uid, s.Gid)
				}
				seen++
				return nil
			})
			if err != nil || seen != 7 {
				t.Errorf("%d files and directories, %v", seen, err)
			}
		})
	}
}

// What the owner has put into root's way does not get him what he could not have.
func TestDirOfAHostileOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can store in the place of another")
	}
	roots := t.TempDir() // a directory of root's, which others may enter
	if err := os.Chmod(roots, 0o755); err != nil {
		t.Fatal(err)
	}
	d := openOf(t, nobody)
	for _, link := range []string{"a", "lock"} {
		if err := os.Symlink(roots, filepath.Join(d.root, link)); err != nil {
			t.Fatal(err)
		}
	}
	d.put(t, "a/file", "x")
	d.put(t, "a/b/file", "x")
	if _, err := d.Store.(lock.Files).LockFile("backup"); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(roots, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Sys().(*syscall.Stat_t).Uid != 0 {
			t.Errorf("%s was given away", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

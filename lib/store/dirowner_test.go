package store_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"pgpipes/lib/lock"
)

// What root leaves in a repository does not lock its owner out.
func TestDirOfAnotherOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can store in the place of another")
	}
	const nobody = 65534
	for name, owner := range map[string]int{"another's": nobody, "root's": 0} {
		t.Run(name, func(t *testing.T) {
			d := open(t, t.TempDir())
			if err := os.Chown(d.root, owner, owner); err != nil {
				t.Fatal(err)
			}
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

package store_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/store"
	"pgpipes/test/s3"
	"pgpipes/test/script"
	"pgpipes/test/sshd"
)

// Old temporary files go, also where links lead to that lists follow, and nothing
// else.
func TestSweep(t *testing.T) {
	host := sshd.Start(t)
	for kind, open := range map[string]func(root string) dir{
		"directory": func(root string) dir { return open(t, root) },
		"sftp":      func(root string) dir { return far(t, host, root) },
	} {
		t.Run(kind, func(t *testing.T) {
			root := t.TempDir()
			old := time.Now().Add(-time.Hour)
			for name, at := range map[string]time.Time{
				"repo/.pgpipes-A.tmp": old, "repo/wal/x/.pgpipes-B.tmp": old, "repo/wal/x/.pgpipes-C.tmp": time.Now(), "repo/wal/x/k": old, "repo/.other": old,
				"disk/.pgpipes-D.tmp": old, "disk/y/.pgpipes-E.tmp": old, "disk/y/k": old, "away/.pgpipes-F.tmp": old,
			} {
				path := filepath.Join(root, name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o644), os.Chtimes(path, at, at)); err != nil {
					t.Fatal(err)
				}
			}
			for name, to := range map[string]string{"link": "repo", "repo/base": "../disk", "repo/.hidden": "../away"} {
				if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
					t.Fatal(err)
				}
			}
			s := open(filepath.Join(root, "link")).Store.(interface {
				Sweep(ctx context.Context, before time.Time) error
			})
			if err := s.Sweep(context.Background(), time.Now().Add(-time.Minute)); err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, path := range leftovers(t, root) {
				if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() {
					names = append(names, strings.TrimPrefix(path, root+"/"))
				}
			}
			slices.Sort(names)
			if want := []string{"away/.pgpipes-F.tmp", "disk/y/k", "repo/.other", "repo/wal/x/.pgpipes-C.tmp", "repo/wal/x/k"}; !slices.Equal(names, want) {
				t.Errorf("left: %q, want %q", names, want)
			}
		})
	}
}

// A link that leads nowhere may be to a disk that is not mounted, and one that
// leads in a circle has no end.
func TestSweepEnds(t *testing.T) {
	host := sshd.Start(t)
	for name, to := range map[string]string{"nowhere": "/does/not/exist", "circle": "."} {
		for kind, open := range map[string]func(root string) dir{
			"directory": func(root string) dir { return open(t, root) },
			"sftp":      func(root string) dir { return far(t, host, root) },
		} {
			root := t.TempDir()
			for _, link := range []string{"one", "two"} {
				if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
					t.Fatal(err)
				}
			}
			if err := operations["Sweep"](context.Background(), open(root).Store); err == nil {
				t.Errorf("%s, %s: success", name, kind)
			}
		}
	}
}

// Where a disk is mounted there is a directory that only its administrator can read.
// Of no other one is it known that it is not ours.
func TestSFTPOnMountPoint(t *testing.T) {
	host := sshd.Start(t, "ForceCommand "+strings.Join(append(script.Powerless(), "/usr/lib/openssh/sftp-server"), " "))
	d := far(t, host, t.TempDir())
	d.put(t, "wal/k", "x")
	for _, dir := range []string{"lost+found", "wal/lost+found"} {
		if err := os.Mkdir(filepath.Join(d.root, dir), 0); err != nil {
			t.Fatal(err)
		}
	}
	if keys := d.list(t); !slices.Equal(keys, []string{"wal/k"}) {
		t.Errorf("%q", keys)
	}
	if err := operations["Sweep"](t.Context(), d.Store); err != nil {
		t.Error(err)
	}
	if err := os.Mkdir(filepath.Join(d.root, "own"), 0); err != nil {
		t.Fatal(err)
	}
	_, listed := keysIn(t.Context(), d.Store, "")
	for what, err := range map[string]error{"List": listed, "Sweep": operations["Sweep"](t.Context(), d.Store)} {
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Uploads that were begun and given up are forgotten when they are old.
func TestS3Sweep(t *testing.T) {
	server := s3.Start(t, "bucket")
	stuck := errors.New("stuck")
	c := server.Before(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == "DELETE" { // the abort does not arrive
			http.Error(w, "", http.StatusBadRequest)
		}
		return r.Method == "DELETE"
	})
	if _, err := bucket(t, c.Location("bucket/x")).Put(context.Background(), "k", func(w io.Writer) error {
		if _, err := w.Write(make([]byte, 40<<20)); err != nil {
			return err
		}
		return stuck
	}); !errors.Is(err, stuck) {
		t.Fatal(err)
	}
	uploads := func() (n int) {
		filepath.WalkDir(server.Dir, func(path string, e os.DirEntry, err error) error {
			if err == nil && !e.IsDir() && strings.Contains(path, "multipart") {
				n++
			}
			return nil
		})
		return n
	}
	if uploads() == 0 {
		t.Fatal("nothing was left behind")
	}
	s := bucket(t, server.Location("bucket/x")).(*store.S3)
	if err := s.Sweep(context.Background(), time.Now().Add(-time.Hour)); err != nil || uploads() == 0 {
		t.Errorf("what is young went: %v", err)
	}
	old := time.Now().Add(-2 * time.Hour) // the server goes by the time of the directory
	filepath.WalkDir(server.Dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.IsDir() && strings.Contains(path, "multipart") {
			err = os.Chtimes(path, old, old)
		}
		return err
	})
	if err := s.Sweep(context.Background(), time.Now().Add(-time.Hour)); err != nil || uploads() == 0 {
		t.Errorf("what is old and still at work went: %v", err)
	}
	if err := s.Sweep(context.Background(), time.Now().Add(time.Hour)); err != nil || uploads() > 0 {
		t.Errorf("%d left, %v", uploads(), err)
	}
}

// A server that does not know conditions is found out.
func TestS3Probe(t *testing.T) {
	server := s3.Start(t, "bucket")
	if err := bucket(t, server.Location("bucket/x")).(*store.S3).Probe(context.Background()); err != nil {
		t.Error(err)
	}
	careless := server.Before(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == "PUT" { // it takes everything
			w.Header().Set("ETag", `"9"`)
		}
		return r.Method == "PUT"
	})
	err := bucket(t, careless.Location("bucket/x")).(*store.S3).Probe(context.Background())
	if !errors.Is(err, store.ErrOverwrites) {
		t.Errorf("%v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(server.Dir, "bucket/x/*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

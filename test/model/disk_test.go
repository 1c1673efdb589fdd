package model

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"pgpipes/lib/codec"
	"pgpipes/lib/wal"
	"pgpipes/test/script"
)

// A disk holds one repository, in pg/repo.
type disk struct {
	w        *world
	cluster  *cluster
	dir      string
	mounted  bool            // it is a file system of its own, of diskSize bytes
	full     bool            // of which little is left
	readonly bool            // and that cannot be written
	promised map[string]bool // names for which 0 was returned
}

const diskSize = 64 << 20

func (w *world) newDisk(c *cluster) *disk {
	d := &disk{w: w, cluster: c, dir: w.path("disks", fmt.Sprint(len(w.disks))), promised: map[string]bool{}}
	w.disks = append(w.disks, d)
	w.must(os.Mkdir(d.dir, 0o700))
	if w.private && w.one(2) {
		w.must(unix.Mount("none", d.dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=700", diskSize)))
		d.mounted = true
	}
	w.must(os.Mkdir(d.repo("..", ""), 0o700))
	return d
}

func (d *disk) repo(parts ...string) string {
	return filepath.Join(append([]string{d.dir, "pg/repo"}, parts...)...)
}

func (d *disk) ballast() string { return filepath.Join(d.dir, "ballast") }

// fill leaves so many bytes on the disk.
func (d *disk) fill(left int64) {
	f, err := os.Create(d.ballast())
	d.w.must(err)
	defer f.Close()
	var s unix.Statfs_t
	d.w.must(unix.Statfs(d.dir, &s))
	if free := int64(s.Bavail)*s.Bsize - left; free > 0 {
		d.w.must(unix.Fallocate(int(f.Fd()), 0, 0, free))
	}
	d.full = true
}

// protect makes a disk that is mounted read-only, or takes that back. It does
// nothing if somebody writes to it.
func (d *disk) protect(readonly bool) {
	flags := uintptr(unix.MS_REMOUNT)
	if readonly {
		flags |= unix.MS_RDONLY
	}
	err := unix.Mount("none", d.dir, "", flags, "")
	if errors.Is(err, unix.EBUSY) {
		return
	}
	d.w.must(err)
	d.readonly = readonly
}

func (d *disk) heal() {
	if d.readonly {
		d.protect(false)
	}
	if d.full {
		d.w.must(os.Remove(d.ballast()))
		d.full = false
	}
}

// stored lists the files of the repository by the name of what is in them.
func (d *disk) stored() map[string][]string {
	found := map[string][]string{}
	keys, err := script.Tree(d.repo("wal"))
	d.w.must(err)
	for _, key := range keys {
		plain, _ := codec.SplitName(filepath.Base(key))
		found[plain] = append(found[plain], d.repo("wal", key))
	}
	return found
}

// forms lists the files that hold a name.
func (d *disk) forms(name string) (files []string) {
	dir := "history"
	if !strings.HasSuffix(name, ".history") {
		dir = name[:16]
	}
	for _, f := range codec.Formats() {
		if path := d.repo("wal", dir, name+f.Suffix); exists(path) {
			files = append(files, path)
		}
	}
	return files
}

// check says what is wrong with a name: not there, or other contents.
func (d *disk) check(name string) error {
	if !exists(d.repo("pgpipes")) {
		return fmt.Errorf("%s: no repository", d.repo())
	}
	files := d.forms(name)
	if len(files) == 0 {
		return fmt.Errorf("%s: no %s", d.repo(), name)
	}
	for _, file := range files {
		if err := holds(file, d.cluster.files[name]); err != nil {
			return fmt.Errorf("%s: %v", file, err)
		}
	}
	return nil
}

// holds says what is wrong with a file that shall hold these contents.
func holds(path string, contents []byte) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, format := codec.SplitName(path)
	z, err := codec.NewReaderFormat(f, format, 1)
	if err != nil {
		return err
	}
	defer z.Close()
	rest := expectation(contents)
	if _, err := io.Copy(&rest, z); err != nil || len(rest) > 0 {
		return errors.Join(err, fmt.Errorf("other contents than were offered, from byte %d on", len(contents)-len(rest)))
	}
	return nil
}

// An expectation is what shall be written to it.
type expectation []byte

func (e *expectation) Write(p []byte) (int, error) {
	if !bytes.HasPrefix(*e, p) {
		return 0, errors.New("something else")
	}
	*e = (*e)[len(p):]
	return len(p), nil
}

// checkAll demands that every name in the repository is a file of the cluster,
// whole, that all is there that was promised, and that nothing else is.
func (d *disk) checkAll() {
	stored := d.stored()
	for name := range d.promised {
		if len(stored[name]) == 0 {
			d.w.fail("%s: %s is gone, which was promised", d.repo(), name)
		}
	}
	for name, files := range stored {
		if _, err := wal.ParseName(name); err != nil || d.cluster.files[name] == nil {
			d.w.fail("left behind: %v", files)
		}
		if err := d.check(name); err != nil {
			d.w.fail("%v", err)
		}
	}
	entries, err := os.ReadDir(d.repo())
	if !errors.Is(err, os.ErrNotExist) {
		d.w.must(err)
	}
	for _, e := range entries {
		if !slices.Contains([]string{"pgpipes", "wal"}, e.Name()) {
			d.w.fail("left behind: %s", d.repo(e.Name()))
		}
	}
}

package manifest

import (
	"archive/tar"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// oddTree makes a directory with a name for every byte that a name can hold but
// those of without, and others that tools may stumble over, and the manifest of it.
func oddTree(t *testing.T, without string) (dir string, entries []Entry) {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	add := func(e Entry, err error) {
		if err != nil {
			t.Fatal(err)
		}
		e.Owner = me.Username + ":" + group.Name
		entries = append(entries, e)
	}
	add(directory("."), os.Chmod(dir, 0o700))
	add(directory("d"), os.Mkdir(filepath.Join(dir, "d"), 0o700))
	var names []string
	for c := 1; c < 256; c++ {
		if c != '/' && !strings.ContainsRune(without, rune(c)) {
			names = append(names, "d/"+string([]byte{'a', byte(c), 'b'}), "d/"+string([]byte{'c', byte(c)}))
		}
	}
	for _, name := range append(names, "-", " x ", "d/plain", "d/caf\u00e9 \U0001F418", "#", `\`, "a=b", "type=dir") {
		path := filepath.Join(dir, name)
		e := file(name)
		add(e, os.WriteFile(path, []byte(name)[:e.Size], 0o600))
		if err := os.Chtimes(path, noon, noon); err != nil {
			t.Fatal(err)
		}
	}
	add(link("to nowhere", "a b\\#\n\xff"), os.Symlink("a b\\#\n\xff", filepath.Join(dir, "to nowhere")))
	return dir, entries
}

// tool runs a command in a directory, with text as its input, and returns all
// that it says.
func tool(t *testing.T, dir, input, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdin, cmd.Env = dir, strings.NewReader(input), append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// compareNames has libarchive read an mtree(5).
func compareNames(t *testing.T, dir, text string, entries []Entry) {
	t.Helper()
	cmd := exec.Command("bsdtar", "--format=gnutar", "-cf", "-", "@-")
	cmd.Dir, cmd.Stdin, cmd.Env = dir, strings.NewReader(text), append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("bsdtar: %v", err)
	}
	var got, want []string
	in := tar.NewReader(bytes.NewReader(out))
	for h, err := in.Next(); err != io.EOF; h, err = in.Next() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%q %o %s", cmp.Or(strings.TrimSuffix(strings.TrimPrefix(h.Name, "./"), "/"), "."), h.Mode, h.Uname))
	}
	for _, e := range entries {
		user, _, _ := strings.Cut(e.Owner, ":")
		want = append(want, fmt.Sprintf("%q %o %s", e.Path, e.Mode, user))
	}
	slices.Sort(got)
	slices.Sort(want)
	for i, name := range want {
		if i >= len(got) || got[i] != name {
			t.Fatalf("bsdtar has read %d entries of %d, not %s", len(got), len(want), name)
		}
	}
}

// checks of a directory are what tools say, given the forms of its manifest.
func checks(t *testing.T, dir string, entries []Entry) (sums, tree func() (string, error)) {
	t.Helper()
	whole := write(t, runSize, Header{}, entries...)
	text := map[string]string{}
	for _, form := range []string{"sha256sum", "mtree"} {
		var err error
		if text[form], err = convert(form, bytes.NewReader(whole)); err != nil {
			t.Fatal(err)
		}
	}
	sums = func() (string, error) {
		return tool(t, dir, text["sha256sum"], "sha256sum", "--quiet", "--strict", "-c", "-")
	}
	tree = func() (string, error) { return tool(t, dir, text["mtree"], "mtree") }
	compareNames(t, dir, text["mtree"], entries)
	return sums, tree
}

// The tools whose forms we write find an odd tree unchanged.
func TestToolsReadForms(t *testing.T) {
	dir, entries := oddTree(t, "")
	sums, _ := checks(t, dir, entries)
	if out, err := sums(); err != nil || out != "" {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}
	dir, entries = oddTree(t, "*?[") // patterns to mtree
	_, tree := checks(t, dir, entries)
	if out, err := tree(); err != nil || out != "" {
		t.Errorf("mtree: %v\n%s", err, out)
	}
}

// They find every change that they can see.
func TestToolsFindChanges(t *testing.T) {
	for _, c := range []struct {
		what       string
		change     func(path string) error
		sums, tree string
		quiet      bool // mtree tells, and ends in 0
	}{
		{"contents", func(path string) error { return os.WriteFile(path, []byte("d/plain!")[1:], 0) }, "d/plain: FAILED", "sha256", false},
		{"mode", func(path string) error { return os.Chmod(path, 0o640) }, "", "permissions (0600, 0640)", false},
		{"time", func(path string) error { return os.Chtimes(path, noon, noon.Add(time.Second)) }, "", "modification time", false},
		{"size", func(path string) error { return os.Truncate(path, 2) }, "d/plain: FAILED", "size (7, 2)", false},
		{"missing", os.Remove, "d/plain: FAILED open or read", "missing: ./d/plain", true},
		{"extra", func(path string) error { return os.WriteFile(path+"+", nil, 0o600) }, "", "extra: d/plain+", true},
		{"another kind", func(path string) error { return errors.Join(os.Remove(path), os.Symlink("-", path)) }, "d/plain: FAILED open or read", "type (file, link)", false},
	} {
		dir, entries := oddTree(t, "*?[")
		sums, tree := checks(t, dir, entries)
		if err := c.change(filepath.Join(dir, "d/plain")); err != nil {
			t.Fatal(err)
		}
		if out, err := sums(); (err != nil) != (c.sums != "") || !strings.Contains(out, c.sums) {
			t.Errorf("%s: sha256sum: %v\n%s", c.what, err, out)
		}
		if out, err := tree(); (err == nil) != c.quiet || !strings.Contains(out, c.tree) {
			t.Errorf("%s: mtree: %v\n%s", c.what, err, out)
		}
	}
}

package guard

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"

	"pgpipes/lib/sftpmsg"
)

// serverProgram is OpenSSH's.
const serverProgram = "/usr/lib/openssh/sftp-server"

// guarded is a client behind a guard before a real server.
func guarded(t *testing.T, root string) *sftp.Client {
	t.Helper()
	server := exec.Command(serverProgram)
	server.Dir = root
	in, err1 := server.StdinPipe()
	out, err2 := server.StdoutPipe()
	if err := errors.Join(err1, err2, server.Start()); err != nil {
		t.Fatal(err)
	}
	requests, toGuard := io.Pipe()
	fromGuard, answers := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := Run(root, requests, answers, in, out)
		answers.Close()
		ended <- err
	}()
	c, err := sftp.NewClientPipe(fromGuard, toGuard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		server.Wait()
	})
	return c
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// An attacker tries all there is to change what is stored.
func TestNothingIsChanged(t *testing.T) {
	root := filepath.Join(t.TempDir(), "repo")
	object := filepath.Join(root, "wal/x/segment")
	write(t, object, "precious")
	write(t, filepath.Join(root, "base/b/manifest"), "manifest")
	outside := filepath.Join(filepath.Dir(root), "outside")
	write(t, outside, "outside")
	c := guarded(t, root)
	temp := filepath.Join(root, "wal/x/.pgpipes-A.tmp")
	half, err := c.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		t.Fatal(err)
	}
	for what, attack := range map[string]func() error{
		"truncate by opening": func() error { _, err := c.OpenFile(object, os.O_WRONLY|os.O_TRUNC); return err },
		"open for writing":    func() error { _, err := c.OpenFile(object, os.O_WRONLY); return err },
		"open for both":       func() error { _, err := c.OpenFile(object, os.O_RDWR); return err },
		"append":              func() error { _, err := c.OpenFile(object, os.O_WRONLY|os.O_APPEND); return err },
		"create":              func() error { _, err := c.Create(object); return err },
		"create a final name": func() error {
			_, err := c.OpenFile(filepath.Join(root, "new"), os.O_WRONLY|os.O_CREATE|os.O_EXCL)
			return err
		},
		"remove":                     func() error { return c.Remove(object) },
		"remove the manifest":        func() error { return c.Remove(filepath.Join(root, "base/b/manifest")) },
		"remove through dots":        func() error { return c.Remove(filepath.Join(root, "lease") + "/../wal/x/segment") },
		"remove a directory":         func() error { return c.RemoveDirectory(filepath.Join(root, "wal")) },
		"rename away":                func() error { return c.Rename(object, filepath.Join(root, "gone")) },
		"rename over":                func() error { return c.PosixRename(temp, object) },
		"rename the root":            func() error { return c.Rename(root, root+"-away") },
		"truncate by attributes":     func() error { return c.Truncate(object, 0) },
		"no rights":                  func() error { return c.Chmod(object, 0) },
		"another owner":              func() error { return c.Chown(object, 1, 1) },
		"other times":                func() error { return c.Chtimes(object, time.Time{}, time.Time{}) },
		"symbolic link":              func() error { return c.Symlink(outside, filepath.Join(root, "link")) },
		"link over":                  func() error { return c.Link(temp, object) },
		"link what is still written": func() error { return c.Link(temp, filepath.Join(root, "early")) },
		"link an object":             func() error { return c.Link(object, filepath.Join(root, "second")) },
		"link to a temporary name":   func() error { return c.Link(object, filepath.Join(root, ".pgpipes-B.tmp")) },
		"outside": func() error {
			_, err := c.OpenFile(outside+"/../.pgpipes-C.tmp", os.O_WRONLY|os.O_CREATE|os.O_EXCL)
			return err
		},
		"a directory outside":    func() error { return c.Mkdir(filepath.Dir(root) + "/dir") },
		"remove outside":         func() error { return c.Remove(filepath.Join(root, "../outside")) },
		"attributes of a handle": func() error { return half.Truncate(5) },
	} {
		if err := attack(); err == nil {
			t.Errorf("%s: it succeeded", what)
		}
	}
	half.Close()
	for path, want := range map[string]string{object: "precious", filepath.Join(root, "base/b/manifest"): "manifest", outside: "outside"} {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}

// Nor can it be written to in another conversation, once it has its name.
func TestNothingIsChangedFromElsewhere(t *testing.T) {
	root := t.TempDir()
	writer, linker := guarded(t, root), guarded(t, root)
	temp, final := filepath.Join(root, ".pgpipes-A.tmp"), filepath.Join(root, "k")
	f, err := writer.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		t.Fatal(err)
	}
	if err := linker.Link(temp, final); err == nil {
		t.Error("what is still written has got its name")
	}
	if _, err := os.Stat(final); err == nil {
		t.Error("it is there")
	}
	if err := errors.Join(f.Close(), linker.Link(temp, final)); err != nil {
		t.Error(err)
	}
}

// What adds is let through.
func TestAdding(t *testing.T) {
	root := t.TempDir()
	c := guarded(t, root)
	if err := c.Mkdir(filepath.Join(root, "wal")); err != nil {
		t.Fatal(err)
	}
	temp, final := filepath.Join(root, "wal/.pgpipes-A.tmp"), filepath.Join(root, "wal/k")
	f, err := c.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		t.Fatal(err)
	}
	_, werr := f.Write(bytes.Repeat([]byte("x"), 100000))
	if err := errors.Join(werr, f.Sync(), f.Close(), c.Link(temp, final), c.Remove(temp)); err != nil {
		t.Fatal(err)
	}
	if info, err := c.Stat(final); err != nil || info.Size() != 100000 {
		t.Errorf("%v, %v", info, err)
	}
	if err := c.Link(temp, final); err == nil {
		t.Error("a second name for what is gone")
	}
	write(t, filepath.Join(root, "lease/backup/0000000001"), "x")
	if err := c.Remove(filepath.Join(root, "lease/backup/0000000001")); err != nil {
		t.Error(err)
	}
}

// A directory that is a link does not lead out of the repository, and is no second
// way to a file that is still written.
func TestBehindALink(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "repo")
	for _, d := range []string{root, filepath.Join(dir, "disk/wal")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, link := range []string{"wal", "too"} {
		if err := os.Symlink(filepath.Join(dir, "disk/wal"), filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	c := guarded(t, root)
	open := func(name string) error {
		f, err := c.OpenFile(root+"/"+name, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
		if err == nil {
			t.Cleanup(func() { f.Close() })
		}
		return err
	}
	if err := open("wal/.pgpipes-A.tmp"); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"a file":      open("wal/../.pgpipes-B.tmp"),
		"a name":      c.Link(root+"/wal/.pgpipes-A.tmp", root+"/wal/../authorized_keys"),
		"a directory": c.Mkdir(root + "/wal/../made"),
		"another way": c.Link(root+"/too/.pgpipes-A.tmp", root+"/too/early"),
	} {
		if err == nil {
			t.Errorf("%s: it succeeded", what)
		}
	}
	for name, want := range map[string]int{"disk": 1, "disk/wal": 1} {
		if all, err := os.ReadDir(filepath.Join(dir, name)); err != nil || len(all) != want {
			t.Errorf("%s: %v, %v", name, all, err)
		}
	}
}

// What is no packet ends the conversation.
func TestGarbage(t *testing.T) {
	long := binary.BigEndian.AppendUint32(nil, sftpmsg.Longest+1)
	hello := string(initiation().Bytes())
	for name, in := range map[string]string{
		"too long": hello + string(long), "empty": hello + "\x00\x00\x00\x00", "cut": hello + "\x00\x00\x00\x09\x03", "no id": hello + "\x00\x00\x00\x02\x03\x01",
		"a name without an end": hello + "\x00\x00\x00\x09\x03\x00\x00\x00\x01\x00\x00\xff\xff",
	} {
		if passed, err := run(strings.NewReader(in)); err == nil || string(passed) != hello {
			t.Errorf("%s: %v, passed on %q", name, err, passed)
		}
	}
	if passed, err := run(strings.NewReader("GET / HTTP/1.1\r\n")); err == nil || len(passed) > 0 {
		t.Errorf("text: %v, passed on %q", err, passed)
	}
}

// run has a guard judge what a client says to a server that never answers, and
// returns what was passed on.
func run(client io.Reader) (passed []byte, err error) {
	s := &mute{}
	out, in := io.Pipe()
	s.end = in
	err = Run("/r", client, io.Discard, s, out)
	return s.heard.Bytes(), err
}

// mute is a server that hears and says nothing, until the end.
type mute struct {
	heard bytes.Buffer
	end   io.Closer
}

func (m *mute) Write(p []byte) (int, error) { return m.heard.Write(p) }
func (m *mute) Close() error                { return m.end.Close() }

// Whatever comes, only what is allowed gets through, and it never panics.
func FuzzRequests(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x05\x01\x00\x00\x00\x03"))
	f.Add(append(initiation().Bytes(), message(sftpmsg.Remove, 1, "/r/lease/x").Bytes()...))
	f.Add(append(initiation().Bytes(), message(sftpmsg.Extended, 1, "hardlink@openssh.com", "/r/.pgpipes-A.tmp", "/r/k").Bytes()...))
	f.Fuzz(func(t *testing.T, in []byte) {
		passed, _ := run(bytes.NewReader(in))
		for r := bytes.NewReader(passed); r.Len() > 0; {
			p, err := sftpmsg.Next(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			switch p[0] {
			case sftpmsg.Setstat, sftpmsg.Fsetstat, sftpmsg.Rmdir, sftpmsg.Rename, sftpmsg.Symlink:
				t.Errorf("passed on: %q", p)
			}
		}
	})
}

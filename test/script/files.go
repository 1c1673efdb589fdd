package script

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func flip(ts *testscript.TestScript, _ bool, args []string) {
	need(ts, args, 1, "flip FILE")
	path := ts.MkAbs(args[0])
	body, err := os.ReadFile(path)
	ts.Check(err)
	body[len(body)/2] ^= 0x10
	// In place and under the same inode, as damage comes.
	ts.Check(os.WriteFile(path, body, 0))
}

func cut(ts *testscript.TestScript, _ bool, args []string) {
	need(ts, args, 2, "cut FILE BYTES")
	size, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), size))
}

func fifo(ts *testscript.TestScript, _ bool, args []string) {
	need(ts, args, 1, "fifo FILE")
	ts.Check(syscall.Mkfifo(ts.MkAbs(args[0]), 0o600))
}

// identity is everything that rewriting a file would change, even with the
// same bytes.
func identity(ts *testscript.TestScript, path string) string {
	info, err := os.Lstat(ts.MkAbs(path))
	ts.Check(err)
	s := info.Sys().(*syscall.Stat_t)
	return fmt.Sprint(s.Dev, s.Ino, s.Size, s.Mode, s.Mtim, s.Ctim)
}

func remember(ts *testscript.TestScript, _ bool, args []string) {
	need(ts, args, 1, "remember FILE")
	ts.Setenv("REMEMBERED_"+args[0], identity(ts, args[0]))
}

func unchanged(ts *testscript.TestScript, _ bool, args []string) {
	need(ts, args, 1, "unchanged FILE")
	was := ts.Getenv("REMEMBERED_" + args[0])
	if now := identity(ts, args[0]); was != now {
		ts.Fatalf("%s has changed: %s, was %s", args[0], now, was)
	}
}

func tree(ts *testscript.TestScript, _ bool, args []string) {
	need(ts, args, 1, "tree DIR")
	names, err := Tree(ts.MkAbs(args[0]))
	ts.Check(err)
	output(ts, strings.Join(append(names, ""), "\n"))
}

// Tree lists the paths of all files below dir that are no directories, hidden
// ones too, relative to it. One that is not there has none.
func Tree(dir string) (names []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		names = append(names, name)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return names, err
}

// patience bounds every command, and every wait for something that must come.
const patience = 60 * time.Second

func appears(ts *testscript.TestScript, _ bool, args []string) {
	need(ts, args, 1, "appears FILE")
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
	}
	ts.Fatalf("no %s has appeared", args[0])
}

package model

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// loseState does to a state directory what may happen to it.
func (w *world) loseState() {
	i := w.chance.IntN(len(w.states))
	path := w.states[i]
	what := pickOne(w, []string{"delete", "empty", "file", "garbage", "cut", "flip", "open", "keep", "keep", "back", "back"})
	w.logf("state %d: %s", i, what)
	switch what {
	case "delete":
		w.must(removeAll(path))
	case "empty":
		w.must(errors.Join(removeAll(path), os.Mkdir(path, 0o700)))
	case "file":
		w.must(errors.Join(removeAll(path), os.WriteFile(path, []byte("x"), 0o600)))
	case "open": // to others, so that it cannot be trusted
		if isDir(path) {
			w.must(os.Chmod(path, 0o777))
		}
	case "garbage", "cut", "flip":
		w.must(w.damage(path, what))
	case "keep":
		w.must(w.keep(i))
	case "back":
		if w.saved[i] != "" {
			w.must(errors.Join(removeAll(path), os.CopyFS(path, os.DirFS(w.saved[i])), os.Chmod(path, 0o700)))
		}
	}
}

// keep makes a copy of a state directory.
func (w *world) keep(i int) error {
	if !isDir(w.states[i]) {
		return nil
	}
	w.saved[i] = w.states[i] + ".saved"
	return errors.Join(os.RemoveAll(w.saved[i]), vanished(os.CopyFS(w.saved[i], os.DirFS(w.states[i]))))
}

// damages are what may happen to the files in a state directory.
var damages = []string{"garbage", "cut", "flip"}

// damage spoils half of the files below a directory, in place.
func (w *world) damage(dir, how string) error {
	if !isDir(dir) {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || w.one(2) {
			return vanished(err)
		}
		contents, err := os.ReadFile(path)
		switch {
		case err != nil:
			return vanished(err)
		case how == "garbage":
			contents = []byte("\x00garbage\t1\n")
		case how == "cut":
			contents = contents[:len(contents)/2]
		case len(contents) > 0:
			contents[len(contents)/2] ^= 1
		}
		return os.WriteFile(path, contents, 0o600)
	})
}

// vanished drops the error of a file that is gone: somebody may be working there.
func vanished(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// removeAll removes a directory in which somebody may be making files.
func removeAll(path string) (err error) {
	for range 100 {
		if err = os.RemoveAll(path); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return err
}

// Package state is a directory of the programs' own for what may be lost at any
// time: what was stored ahead, what was fetched ahead. It lies outside every
// data directory, because a server, pg_rewind and backups mind what lies there.
//
// # Guarantees
//
// Only its owner can have written what is in it. That it is right is for the
// reader to check: it may be older than the cluster, or copied from elsewhere.
package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrUnfit says that a directory cannot be trusted or must not be used.
var ErrUnfit = errors.New("unfit for a state directory")

// A Dir is a state directory.
type Dir struct{ path string }

// Default is the state directory of the user: a place that is there on every
// machine, survives a restart, and need not be on the disk of the cluster.
func Default() string { return "/var/tmp/pgpipes-" + strconv.Itoa(os.Geteuid()) }

// Open returns the state directory at path, which is made when it is missing;
// its parent is not. The error wraps ErrUnfit if it is somebody else's, open to
// others, or in a data directory.
func Open(path string) (*Dir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if server := servers(path); server != "" {
		return nil, fmt.Errorf("%s: %w: %s is a server's", path, ErrUnfit, server)
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	var info unix.Stat_t
	if err := unix.Lstat(path, &info); err != nil {
		return nil, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	switch {
	case info.Mode&unix.S_IFMT != unix.S_IFDIR:
		return nil, fmt.Errorf("%s: %w: not a directory", path, ErrUnfit)
	case int(info.Uid) != os.Geteuid():
		return nil, fmt.Errorf("%s: %w: it belongs to the user with the id %d", path, ErrUnfit, info.Uid)
	case info.Mode&0o077 != 0:
		return nil, fmt.Errorf("%s: %w: its mode is %#o, others can look into it", path, ErrUnfit, info.Mode&0o777)
	}
	return &Dir{path}, nil
}

// servers returns the data directory or pg_wal, which may lie elsewhere, that
// a directory is in, "" if there is none.
func servers(path string) string {
	if real, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil { // it itself need not be there yet
		path = filepath.Join(real, filepath.Base(path))
	}
	for at := path; at != filepath.Dir(at); at = filepath.Dir(at) {
		for _, mark := range []string{"global/pg_control", "archive_status"} {
			if _, err := os.Stat(filepath.Join(at, mark)); err == nil {
				return at
			}
		}
	}
	return ""
}

// Path returns a directory below it, which is made when it is missing. A part
// that is not a plain name, and might lead elsewhere, is an error.
func (d *Dir) Path(parts ...string) (string, error) {
	for _, part := range parts {
		if part == "" || part[0] == '.' || strings.ContainsAny(part, "/\x00") {
			return "", fmt.Errorf("%q: %w: not a plain name", part, ErrUnfit)
		}
	}
	path := filepath.Join(append([]string{d.path}, parts...)...)
	return path, os.MkdirAll(path, 0o700)
}

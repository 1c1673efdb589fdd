// Package store keeps objects under keys: put if absent, get, list, stat and
// remove are all that a repository needs of a disk or a network.
//
// # Guarantees
//
// An object appears whole or not at all, is on stable storage when Put returns,
// and is never overwritten. ErrNotExist is said only when the store itself was
// there to be asked.
//
// # Keys
//
// A key is a relative path of components separated by single slashes. No
// component begins with a dot, and there are no control characters.
package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"iter"
	"path/filepath"
	"strings"
	"time"
)

var (
	// ErrNotExist says that the store was asked and has no such object.
	ErrNotExist = errors.New("not in the repository")
	// ErrNoPlace says that the directory which the store is in is not there: nobody
	// has made it, or it is not mounted.
	ErrNoPlace = errors.New("the place is not there")
	// ErrDiffers says that the key is taken by other bytes.
	ErrDiffers = errors.New("already in the repository with different contents")
	// ErrVanished says that the key was taken, and what it named is gone: whether
	// it was the same nobody knows.
	ErrVanished = errors.New("vanished while it was compared")
	// ErrKey says that a text cannot be a key.
	ErrKey = errors.New("not a key")
	// ErrLocation says that a text names no kind of store known here.
	ErrLocation = errors.New("not a repository location")
)

// noPlace is an ErrNoPlace that says why in the system's words.
type noPlace struct{ error }

func (noPlace) Is(target error) bool { return target == ErrNoPlace }
func (n noPlace) Unwrap() error      { return n.error }

// ofRoot is what an error about the directory of a store means.
func ofRoot(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return noPlace{err}
	}
	return err
}

// Info describes an object.
type Info struct {
	Key     string
	Size    int64 // bytes
	ModTime time.Time
}

// Receipt says what was stored: the SHA-256 in hex and the size in bytes of
// the object's bytes.
type Receipt struct {
	SHA256 string
	Size   int64
	Key    string
}

// String is the receipt as one line of text without its end.
func (r Receipt) String() string { return fmt.Sprintf("%s\t%d\t%s", r.SHA256, r.Size, r.Key) }

// Store is a place for objects. All methods may be called at once.
type Store interface {
	// Put publishes what write produces under key. The same bytes there
	// already are success; other bytes are ErrDiffers, with both hashes in
	// the text. An error of write is returned as it is, and nothing is stored.
	// The writer that write gets may have a method Sync() error: a write that
	// has to wait before it returns has its bytes made durable meanwhile.
	Put(ctx context.Context, key string, write func(io.Writer) error) (Receipt, error)
	// Get reads length bytes from offset on, to the end if length is negative.
	Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)
	// Stat describes one object.
	Stat(ctx context.Context, key string) (Info, error)
	// List yields the objects whose keys begin with prefix and come after the
	// key after, in bytewise order. After an error it ends.
	List(ctx context.Context, prefix, after string) iter.Seq2[Info, error]
	// Remove removes an object. One that is not there is ErrNotExist.
	Remove(ctx context.Context, key string) error
}

// Absolute makes a location independent of the directory that a process is in.
// With an error it is as it was.
func Absolute(location string) (string, error) {
	if strings.Contains(location, "://") {
		return location, nil
	}
	path, err := filepath.Abs(location)
	if err != nil {
		return location, err
	}
	return path, nil
}

// Open returns the store at a location: a directory, sftp://host/path, or
// s3://bucket/prefix.
func Open(location string) (Store, error) {
	scheme, _, found := strings.Cut(location, "://")
	switch {
	case !found && isRemote(location):
		return nil, fmt.Errorf("%w: %s: a directory with a colon in its name is ./DIR, a place elsewhere sftp://host/path or s3://bucket/prefix",
			ErrLocation, printable(location))
	case !found:
		return newDir(location)
	case scheme == "sftp":
		return newSFTP(location)
	case scheme == "s3":
		return newS3(location)
	}
	return nil, fmt.Errorf("%w: %s: there is no store of kind %s in this version", ErrLocation, printable(location), scheme)
}

// isRemote reports whether a location is what scp and rsync take for another host's:
// nobody wants his backups in a directory of that name.
func isRemote(location string) bool {
	first, _, _ := strings.Cut(location, "/")
	return strings.Contains(first, ":")
}

// printable is a location that was refused, without what somebody may have put
// there that is a secret: a password before a host, and settings.
func printable(location string) string {
	scheme, place, found := strings.Cut(location, "://")
	if !found {
		return location[strings.LastIndexByte(location, '@')+1:]
	}
	place = place[strings.LastIndexByte(place, '@')+1:]
	return scheme + "://" + place[:strings.IndexAny(place+"?", "?#")]
}

// CheckKey says what is wrong with a key, wrapping ErrKey.
func CheckKey(key string) error {
	for c := range strings.SplitSeq(key, "/") {
		if c == "" || c[0] == '.' {
			return fmt.Errorf("%w: %q", ErrKey, key)
		}
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%w: %q", ErrKey, key)
	}
	return nil
}

// summer counts and hashes what passes through it.
type summer struct {
	w    io.Writer
	hash hash.Hash
	size int64
}

func newSummer(w io.Writer) *summer { return &summer{w: w, hash: sha256.New()} }

func (s *summer) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.hash.Write(p[:n])
	s.size += int64(n)
	return n, err
}

// Sync passes on the ability of a file.
func (s *summer) Sync() error {
	if f, able := s.w.(interface{ Sync() error }); able {
		return f.Sync()
	}
	return nil
}

func (s *summer) receipt(key string) Receipt {
	return Receipt{hex.EncodeToString(s.hash.Sum(nil)), s.size, key}
}

// Sum reads an object to its end and returns what its receipt must have been.
func Sum(ctx context.Context, s Store, key string) (Receipt, error) {
	body, err := s.Get(ctx, key, 0, -1)
	if err != nil {
		return Receipt{}, err
	}
	defer body.Close()
	sum := newSummer(io.Discard)
	if _, err := io.CopyBuffer(sum, struct{ io.Reader }{body}, make([]byte, 256<<10)); err != nil {
		return Receipt{}, fmt.Errorf("%s: %w", key, err)
	}
	return sum.receipt(key), nil
}

// compare succeeds when the object that is there already has the bytes that were
// offered. One that goes meanwhile is no proof of absence to whoever offers it.
func compare(ctx context.Context, s Store, offered Receipt) error {
	stored, err := Sum(ctx, s, offered.Key)
	if errors.Is(err, ErrNotExist) {
		return fmt.Errorf("%s: %w", offered.Key, ErrVanished)
	}
	if err == nil && stored != offered {
		err = fmt.Errorf("%s: %w: stored sha256 %s, offered %s", offered.Key, ErrDiffers, stored.SHA256, offered.SHA256)
	}
	return err
}

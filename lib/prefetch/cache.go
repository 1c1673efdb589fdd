// Package prefetch keeps WAL at hand that a recovering server will ask for next,
// in a state directory of its host.
package prefetch

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/durable"
	"pgpipes/lib/state"
	"pgpipes/lib/wait"
	"pgpipes/lib/wal"
)

const (
	// cacheDir is the cache's place in a state directory.
	cacheDir = "get"
	// cacheLife is how long something that nobody asked for stays in the cache.
	cacheLife = time.Hour
	lockFile  = "lock"
	// readBuffer is the size of reads and writes in bytes.
	readBuffer = 256 << 10
)

// castagnoli is the polynomial that processors have an instruction for.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A Cache keeps segments that were fetched before a recovering server asked for
// them. It knows only of what exists, and never answers "absent".
//
//	get/REPOSITORY-ID.LOCATION/000000010000000000000003.8a9136aa    the segment, and the CRC-32C of its contents
//	get/REPOSITORY-ID.LOCATION/lock                                 held while segments are fetched
//	get/location-LOCATION                                           which repository is at a location, see lease
//
// LOCATION is the beginning of a hash.
//
// Nothing in it is trusted: a segment is read through and compared with its CRC,
// its name and the repository's cluster before it is handed over. So it need not
// be synced, and may be cut, lost or copied from elsewhere.
type Cache struct{ dir string }

// OpenCache returns the cache in a state directory.
func OpenCache(s *state.Dir) (*Cache, error) {
	dir, err := s.Path(cacheDir)
	return &Cache{dir}, err
}

// Deliver puts the segment n at path if one of the repositories has it here,
// and reports whether it did. What it delivers is no longer in the cache, and
// not synced. A repository counts if it was proved to be at its location within
// the last minute; else it is opened first.
func (c *Cache) Deliver(ctx context.Context, locations []string, cluster archive.Cluster, n wal.Name, path string) bool {
	for _, location := range locations {
		id, proved := c.remembered(location)
		s := c.shelf(id, location)
		if id.Cluster != cluster || len(s.files(n)) == 0 {
			continue
		}
		if !proved {
			r, err := c.open(ctx, location)
			if err != nil {
				continue
			}
			r.Close()
			if r.Identity != id {
				continue
			}
		}
		if s.deliver(ctx, n, path) {
			return true
		}
	}
	return false
}

// A shelf is the part of the cache that belongs to one repository.
type shelf struct {
	dir string
	archive.Identity
}

// shelf is that of a repository at a location: two copies of one repository
// have the same id, and may have got different WAL since.
func (c *Cache) shelf(id archive.Identity, location string) shelf {
	return shelf{filepath.Join(c.dir, id.ID+"."+locationHash(location)), id}
}

// A cached segment's file has its name and the CRC-32C of its contents.
type cached struct {
	wal.Name
	sum uint32
}

func (c cached) String() string { return fmt.Sprintf("%s.%08x", c.Name, c.sum) }

func parseCached(file string) (c cached, ok bool) {
	name, sum, _ := strings.Cut(file, ".")
	n, err1 := wal.ParseName(name)
	crc, err2 := strconv.ParseUint(sum, 16, 32)
	c = cached{n, uint32(crc)}
	return c, err1 == nil && err2 == nil && c.String() == file
}

// all lists the segments on the shelf.
func (s shelf) all() (found []cached) {
	entries, _ := os.ReadDir(s.dir) // one that is not there is empty
	for _, e := range entries {
		if c, ok := parseCached(e.Name()); ok {
			found = append(found, c)
		}
	}
	return found
}

// files lists those of one name: none or one, unless somebody meddled.
func (s shelf) files(n wal.Name) (found []cached) {
	for _, c := range s.all() {
		if c.Name == n {
			found = append(found, c)
		}
	}
	return found
}

func (s shelf) deliver(ctx context.Context, n wal.Name, path string) bool {
	defer wait.For(ctx, "reading "+s.dir)()
	for _, c := range s.files(n) {
		if s.hand(c, path) == nil {
			return true
		}
	}
	return false
}

// hand puts a cached segment at path. It gets a name that nobody else knows
// first: of several who want it one has it, and a bad one is gone.
func (s shelf) hand(c cached, path string) error {
	own := filepath.Join(s.dir, durable.TemporaryPrefix+rand.Text()+".tmp")
	if err := os.Rename(filepath.Join(s.dir, c.String()), own); err != nil {
		return err
	}
	defer os.Remove(own)
	info, err := os.Lstat(own)
	if err == nil && time.Since(info.ModTime()) > cacheLife {
		err = fmt.Errorf("%s: from an earlier recovery", c)
	}
	if err != nil {
		return err
	}
	f, err := archive.OpenSource(own)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := s.check(c, f.Content); err != nil {
		return err
	}
	if os.Rename(own, path) == nil {
		return nil
	}
	return copyTo(path, f.Content) // another file system
}

// check reads a cached segment through.
func (s shelf) check(c cached, content archive.Content) error {
	if cluster, err := archive.Inspect(c.Name, content); err != nil || cluster != s.Cluster {
		return errors.Join(err, fmt.Errorf("%s: not a segment of the repository's", c))
	}
	sum, err := checksum(content)
	if err == nil && sum != c.sum {
		err = fmt.Errorf("%s: its CRC is %08x", c, sum)
	}
	return err
}

func checksum(c archive.Content) (uint32, error) {
	sum := crc32.New(castagnoli)
	_, err := io.CopyBuffer(sum, struct{ io.Reader }{c.Reader()}, make([]byte, readBuffer))
	return sum.Sum32(), err
}

func copyTo(path string, c archive.Content) error {
	f, err := durable.Create(path, archive.DeliveredMode)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{c.Reader()}, make([]byte, readBuffer)); err != nil {
		return err
	}
	return f.ReplaceUnsynced()
}

// PruneCache removes from the cache in a state directory what nobody has asked
// for within an hour. A recovery that ends, or goes on along another timeline,
// leaves behind what was fetched ahead of it; every Fill removes what is not
// ahead of its own segment, and the last ones are for this. It reads one
// directory if there is nothing to do, and may be called at any time.
func PruneCache(s *state.Dir) error {
	top, err := s.Path()
	if err != nil {
		return err
	}
	dirs, err := filepath.Glob(filepath.Join(top, cacheDir, "*"))
	for _, path := range dirs {
		pruneOld(path)
		files, _ := os.ReadDir(path) // a file has none
		for _, f := range files {
			if f.Name() != lockFile {
				pruneOld(filepath.Join(path, f.Name()))
			}
		}
	}
	return err
}

// pruneOld removes a plain file that is old.
func pruneOld(path string) {
	info, err := os.Lstat(path)
	if err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > cacheLife {
		_ = os.Remove(path)
	}
}

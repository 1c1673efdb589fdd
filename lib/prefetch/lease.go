package prefetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/durable"
	"pgpipes/lib/store"
	"pgpipes/lib/wait"
)

// leaseLife is how long a repository that was opened at a location is taken to
// be there still. Without that every segment from the cache would cost a
// request to the repository, and a recovery would wait for the network after
// all.
const leaseLife = time.Minute

// A lease is a file that tells which repository was found at a location, when,
// and since which start of the machine that counts: one that was copied from
// elsewhere, or is from before a restart, proves nothing.
//
//	"/backup/pg/main"	BOOT-ID	SECONDS
//	identity of the repository, as in the repository
func (c *Cache) lease(location string) string {
	return filepath.Join(c.dir, "location-"+locationHash(location))
}

// locationHash names a location, wherever it is asked from.
func locationHash(location string) string {
	location, _ = store.Absolute(location)
	return fmt.Sprintf("%x", sha256.Sum256([]byte(location)))[:16]
}

// open opens a repository and remembers that it is there. Whether that can be
// written down does not matter here.
func (c *Cache) open(ctx context.Context, location string) (*archive.Repo, error) {
	at := wait.Uptime()
	r, err := archive.Open(ctx, location)
	if err != nil {
		return nil, err
	}
	if !fitsShelf(r.Identity) {
		return nil, fmt.Errorf("%s: its id %q is not one to name a directory by", location, r.ID)
	}
	if f, err := durable.Create(c.lease(location), 0o600); err == nil {
		defer f.Close()
		if _, err := io.WriteString(f, leaseHead(location)+strconv.FormatInt(int64(at/time.Second), 10)+"\n"+r.Identity.String()); err == nil {
			_ = f.ReplaceUnsynced()
		}
	}
	return r, nil
}

// remembered returns which repository was last seen at a location, the zero
// Identity if none was, and whether that counts as proved.
func (c *Cache) remembered(location string) (id archive.Identity, proved bool) {
	text, err := archive.ReadSmall(c.lease(location))
	if err != nil {
		return archive.Identity{}, false
	}
	head, rest, _ := bytes.Cut(text, []byte("\n"))
	if id, err = archive.ParseIdentity(rest); err != nil || !fitsShelf(id) {
		return archive.Identity{}, false
	}
	seconds, ours := bytes.CutPrefix(head, []byte(leaseHead(location)))
	at, err := strconv.ParseInt(string(seconds), 10, 64)
	age := wait.Uptime() - time.Duration(at)*time.Second
	return id, ours && err == nil && age >= 0 && age < leaseLife
}

// fitsShelf keeps what somebody wrote into a repository from leading elsewhere.
func fitsShelf(id archive.Identity) bool { return !strings.ContainsAny(id.ID, "/.-") }

func leaseHead(location string) string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		boot = []byte(strconv.Itoa(os.Getpid())) // nobody else's
	}
	location, _ = store.Absolute(location)
	return fmt.Sprintf("%q\t%s\t", location, bytes.TrimSpace(boot))
}

package backup

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"

	"pgpipes/lib/durable"
	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
)

// A listing describes what a copy has written, in all its parts: in our
// manifest and in the server's, which grow in temporary files. It may be used by
// several goroutines.
type listing struct {
	mu      sync.Mutex
	entries *manifest.Writer
	spool   *durable.File // of backup_manifest; it never gets a name
	server  *manifest.ServerManifestWriter
	sealed  bool // the server's is complete
}

func newListing() (*listing, error) {
	spool, err := durable.Create(filepath.Join(os.TempDir(), pgdata.ManifestFile), ownMode)
	if err != nil {
		return nil, err
	}
	return &listing{entries: manifest.NewWriter(""), spool: spool, server: manifest.NewServerManifestWriter(spool)}, nil
}

func (l *listing) close() error { return errors.Join(l.entries.Close(), l.spool.Close()) }

// add lists entries, those of files with their hashes.
func (l *listing) add(entries ...manifest.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range entries {
		if err := l.entries.Add(e); err != nil {
			return err
		}
		if e.Kind == manifest.File && !pgdata.IsWAL(e.Path) && !l.sealed {
			if err := l.promise(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// promise lists a file in the server's manifest alone, which will be complete
// before the file is written.
func (l *listing) promise(e manifest.Entry) error {
	return l.server.Add(e.Path, e.Size, e.MTime, e.SHA256)
}

// serverManifest completes backup_manifest and returns its text, and how long
// that is. It lists what has been added until now, and WAL never.
func (l *listing) serverManifest(needed manifest.WALRange) (io.ReaderAt, int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sealed = true
	err := l.server.Finish([]manifest.WALRange{needed})
	return l.spool, l.spool.Size(), err
}

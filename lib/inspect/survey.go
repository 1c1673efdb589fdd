package inspect

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/stream"
	"pgpipes/lib/wait"
)

// hashers is how many files are read at once.
const hashers = 4

// survey makes a list of what is in a data directory.
type survey struct {
	dir     string
	files   chan manifest.Entry
	mu      sync.Mutex // for entries
	entries *manifest.Writer
	moved   bool // tablespaces are not where they were
}

func (s *survey) run(ctx context.Context, spaces []manifest.Tablespace) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(s.files)
		return s.walk(ctx, ".")
	})
	for range hashers {
		group.Go(func() error { return s.hashFiles(ctx, spaces) })
	}
	return group.Wait()
}

// ignore is for both lists.
func (s *survey) ignore(name string) bool {
	if name == pgdata.ManifestFile {
		return s.moved
	}
	return pgdata.Unlisted(name)
}

// walk lists a directory and all below it. A link pg_tblspc/<oid> is the
// directory that it leads to.
func (s *survey) walk(ctx context.Context, name string) error {
	info, err := os.Stat(filepath.Join(s.dir, name))
	if err != nil {
		return err
	}
	if err := s.add(stream.NewEntry(name, manifest.Directory, info)); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Join(s.dir, name))
	if err != nil {
		return err
	}
	defer dir.Close()
	for {
		list, err := dir.ReadDir(1000)
		for _, e := range list {
			if err := s.visit(ctx, path.Join(name, e.Name()), e.Type()); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *survey) visit(ctx context.Context, name string, kind fs.FileMode) error {
	_, inner, inTablespace := pgdata.SplitTablespace(name)
	switch {
	case pgdata.Unlisted(name) && name != pgdata.ManifestFile:
		return nil
	case kind.IsDir() || kind == fs.ModeSymlink && (inTablespace && inner == "." || name == pgdata.WALDir):
		return s.walk(ctx, name)
	}
	info, err := os.Lstat(filepath.Join(s.dir, name))
	if err != nil {
		return err
	}
	switch {
	case kind == fs.ModeSymlink:
		e := stream.NewEntry(name, manifest.Link, info)
		if e.Target, err = os.Readlink(filepath.Join(s.dir, name)); err != nil {
			return err
		}
		return s.add(e)
	case !kind.IsRegular():
		return errors.New(filepath.Join(s.dir, name) + ": neither a file nor a directory")
	}
	select {
	case s.files <- stream.NewEntry(name, manifest.File, info):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *survey) add(e manifest.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries.Add(e)
}

// hashFiles hashes the files that walk has found.
func (s *survey) hashFiles(ctx context.Context, spaces []manifest.Tablespace) error {
	buffer := make([]byte, stream.BufferSize)
	for e := range s.files {
		var err error
		if e.Path == pgdata.TablespaceMapFile {
			err = s.hashSpaceMap(&e, spaces)
		} else {
			err = s.hash(ctx, &e, buffer)
		}
		if err == nil {
			err = s.add(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *survey) hash(ctx context.Context, e *manifest.Entry, buffer []byte) error {
	reading := wait.On(ctx, "reading "+filepath.Join(s.dir, e.Path))
	reading.Begin()
	f, err := os.Open(filepath.Join(s.dir, e.Path))
	reading.End()
	if err != nil {
		return err
	}
	defer f.Close()
	e.SHA256, e.Size, err = stream.HashAll(ctx, reading.Reader(f), buffer)
	return err
}

// hashSpaceMap hashes tablespace_map as it was before the tablespaces moved.
func (s *survey) hashSpaceMap(e *manifest.Entry, spaces []manifest.Tablespace) error {
	text, err := os.ReadFile(filepath.Join(s.dir, e.Path))
	if err != nil {
		return err
	}
	was := map[uint32]string{}
	for _, space := range spaces {
		was[space.OID] = space.Path
	}
	if list, err := pgdata.ParseTablespaceMap(text); err == nil {
		for i, space := range list {
			if old, known := was[space.OID]; known && old != space.Path {
				s.moved, list[i].Path = true, old
			}
		}
		if s.moved {
			text = pgdata.FormatTablespaceMap(list)
		}
	}
	sum := sha256.Sum256(text)
	e.Size, e.SHA256 = int64(len(text)), hex.EncodeToString(sum[:])
	return nil
}

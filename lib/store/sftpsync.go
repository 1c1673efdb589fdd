package store

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"sync/atomic"

	"github.com/pkg/sftp"
	"golang.org/x/sync/errgroup"
)

// Sync makes an object that is there already durable.
func (s *SFTP) Sync(ctx context.Context, key string) error {
	return s.do(ctx, s.doing("syncing", key), func(now *session) error { return s.sync(now, key) })
}

func (s *SFTP) sync(now *session, key string) error {
	file, err := now.Open(s.path(key))
	if err != nil {
		return named(s.path(key), err)
	}
	defer now.leave(file)
	if err := file.Sync(); err != nil {
		return named(s.path(key), err)
	}
	in, err := now.openNames(path.Dir(s.path(key)))
	if err != nil {
		return err
	}
	return s.syncNames(now, key, in)
}

// syncNames makes the name of an object durable, and those of the directories
// above it that this process has not synced: who made them may have been killed
// before. It asks for all at once, so that they take hardly longer than one.
func (s *SFTP) syncNames(now *session, key string, in names) error {
	var all errgroup.Group
	all.Go(in.sync)
	for _, dir := range s.above(key) {
		known, _ := s.directories.LoadOrStore(dir, new(atomic.Bool))
		durable := known.(*atomic.Bool)
		if durable.Load() {
			continue
		}
		all.Go(func() error {
			err := now.syncDir(path.Dir(dir))
			if err == nil {
				durable.Store(true)
			}
			return err
		})
	}
	return all.Wait()
}

// syncDir makes the names in a directory durable.
func (s *session) syncDir(dir string) error {
	in, err := s.openNames(dir)
	if err != nil {
		return err
	}
	return in.sync()
}

// names are those in a directory, which are to be made durable.
type names struct {
	dir     string
	file    *sftp.File // nil where the server does not open directories as files
	session *session
}

// openNames opens a directory. SFTP does not ask of a server that it can open one
// as a file; one that says that it cannot has synced the file at least. Why it
// cannot is not always said. So who changes names opens the directory before:
// afterwards a failure would mean that they may be lost.
func (s *session) openNames(dir string) (names, error) {
	file, err := s.Open(dir)
	if unable(err) || says(err, sftp.ErrSSHFxFailure) {
		return names{}, nil
	}
	if err != nil {
		return names{}, named(dir, err)
	}
	return names{dir, file, s}, nil
}

// sync makes them durable, and closes the directory. A failure without a reason
// is how a server tells of a broken disk.
func (n names) sync() error {
	if n.file == nil {
		return nil
	}
	defer n.close()
	if err := n.file.Sync(); err != nil && !unable(err) {
		return named(n.dir, err)
	}
	return nil
}

func (n names) close() {
	if n.file != nil {
		n.session.leave(n.file)
	}
}

// unable reports whether a server says that it does not do such a thing, or not
// with such a file: file systems that cannot sync a directory say EINVAL, which
// OpenSSH calls a bad message.
func unable(err error) bool {
	return errors.Is(err, fs.ErrPermission) || says(err, sftp.ErrSSHFxOpUnsupported, sftp.ErrSSHFxBadMessage)
}

// says reports whether an error is a server's answer with one of these codes.
func says(err error, codes ...error) bool {
	var status *sftp.StatusError
	return errors.As(err, &status) && slices.Contains(codes, error(status.FxCode()))
}

package cli

import (
	"context"
	"errors"

	"pgpipes/lib/archive"
	"pgpipes/lib/store"
)

// OpenRepository opens a repository that must be there.
func OpenRepository(ctx context.Context, location string) (*archive.Repo, error) {
	r, err := archive.Open(ctx, location)
	return r, RepositoryHint(err)
}

// OpenRepositoryFor opens the repository for a cluster, making it if need be.
func OpenRepositoryFor(ctx context.Context, location string, c archive.Cluster) (*archive.Repo, error) {
	r, err := archive.OpenFor(ctx, location, c)
	return r, RepositoryHint(err)
}

// RepositoryHint adds the way out to errors of opening a repository.
func RepositoryHint(err error) error {
	switch {
	case errors.Is(err, archive.ErrNoRepository):
		return Hint(err, "is it mounted? The first wal-push, backup or repo init makes a repository in an empty place")
	case errors.Is(err, store.ErrNoPlace):
		return Hint(err, "is it mounted? A repository is made in a directory that is there already: mkdir the one above")
	case errors.Is(err, archive.ErrForeign):
		return Hint(err, "every cluster needs a repository of its own")
	case errors.Is(err, store.ErrOverwrites):
		return Hint(err, "with conditional=no in the location it is asked before; only two who store at once can harm each other then")
	}
	return err
}

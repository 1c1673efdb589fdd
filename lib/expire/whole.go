package expire

import (
	"context"
	"errors"
	"fmt"

	"pgpipes/lib/archive"
	"pgpipes/lib/store"
)

// A NotWhole is why nothing is removed: a backup that is listed and cannot be
// restored, or one that is not complete and does not say what it needs.
type NotWhole struct {
	Label    string
	Complete bool
	NeededBy []string // backups that use its parts
	Err      error
}

func (n *NotWhole) Error() string {
	return fmt.Sprintf("nothing is removed while a backup is not whole: %s: %v", n.Label, n.Err)
}

// Unwrap is what is wrong with it.
func (n *NotWhole) Unwrap() error { return n.Err }

func notWhole(b archive.Backup, all []archive.Backup, err error) *NotWhole {
	return &NotWhole{b.Label, b.Complete, usersOf(b.Label, all), err}
}

// checkWhole finds a backup that is listed but cannot be restored: counted as
// one to keep it would let good ones go.
func checkWhole(ctx context.Context, r *archive.Repo, b archive.Backup, c archive.Coverage, sizes map[string]int64) error {
	if b.Err != nil || !b.Complete {
		return b.Err
	}
	if b.Lost != nil {
		return fmt.Errorf("%w: %v", archive.ErrDamaged, b.Lost)
	}
	if !allListed(b, sizes) { // where others put their parts
		err := r.VerifyParts(ctx, b.Header)
		if errors.Is(err, store.ErrNotExist) {
			err = fmt.Errorf("%w: %v", archive.ErrDamaged, err)
		}
		if err != nil {
			return err
		}
	}
	if missing := c.MissingFor(b.Header); missing != "" {
		return fmt.Errorf("%w: %s is missing%s", archive.ErrHole, missing, c.Why(missing))
	}
	return nil
}

// partSizes are the objects below base/ by key, with a size that does not matter:
// Backups has compared them.
func partSizes(backups []archive.Backup) map[string]int64 {
	sizes := map[string]int64{}
	for _, b := range backups {
		for _, key := range b.Keys {
			sizes[key] = 0
		}
	}
	return sizes
}

// allListed reports whether all parts of a backup were among what was listed,
// and so have been looked at.
func allListed(b archive.Backup, sizes map[string]int64) bool {
	for _, p := range b.Header.Parts {
		if _, listed := sizes[p.Key]; !listed {
			return false
		}
	}
	return len(b.Header.Parts) > 0
}

// checkManifests reads the manifests of the complete backups that stay, one after the
// other, to their last line: what Backups has read of them says nothing of the rest,
// and a backup that cannot be restored for that is none to let others go for.
func (e *Expiry) checkManifests(ctx context.Context) error {
	for _, b := range e.backups {
		if !b.Complete || e.drops(b.Label) {
			continue
		}
		if err := e.repo.VerifyManifest(ctx, b.Label); err != nil {
			return notWhole(b, e.backups, err)
		}
	}
	return nil
}

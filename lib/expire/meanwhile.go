package expire

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/layout"
)

// refuseChanged looks for what has come since the decision was made and makes it
// wrong: a backup that uses parts of one that is dropped, a pin on that, its being
// gone on with, its restore.
func (r *removal) refuseChanged(ctx context.Context) error {
	changed, err := r.changed(ctx)
	if err != nil {
		return err
	}
	for _, b := range changed {
		needs := b.Needs()
		i := slices.IndexFunc(needs, r.drops)
		switch {
		case r.drops(b.Label):
			return fmt.Errorf("backup %s has changed since it was decided to drop it: the rest is left for the next run", b.Label)
		case b.Err != nil:
			return fmt.Errorf("backup %s has changed meanwhile: the rest is left for the next run: %w", b.Label, b.Err)
		case i >= 0:
			return fmt.Errorf("backup %s has changed meanwhile and needs %s: the rest is left for the next run", b.Label, needs[i])
		}
	}
	return r.refuseRestored(ctx, func(n archive.Restoring) bool { return r.drops(n.Backup) })
}

// refuseNewer keeps all WAL if a backup has begun since the decision was made: on
// a standby it may begin at an old checkpoint.
func (r *removal) refuseNewer(ctx context.Context) error {
	changed, err := r.changed(ctx)
	if err != nil {
		return err
	}
	for _, b := range changed {
		return fmt.Errorf("backup %s has changed meanwhile: WAL is left for the next run", b.Label)
	}
	return r.refuseRestored(ctx, func(n archive.Restoring) bool { return r.policy.WAL.Limited || r.drops(n.Backup) })
}

// refuseRestored keeps the rest if a restore has begun that matters.
func (r *removal) refuseRestored(ctx context.Context, matters func(archive.Restoring) bool) error {
	now, err := r.repo.Restorings(ctx)
	if err != nil {
		return err
	}
	for _, n := range now {
		known := slices.ContainsFunc(r.restoring, func(old archive.Restoring) bool { return old.Key == n.Key })
		if !known && time.Now().Before(n.Until) && matters(n) {
			return fmt.Errorf("backup %s is %s: the rest is left for the next run", n.Backup, n.Why())
		}
	}
	return nil
}

// changed reads the backups that have come since the decision was made, and those
// of which a note has. What has only lost something is not among them. It lists
// without reading what it knows: with a thousand backups that is a difference.
func (r *removal) changed(ctx context.Context) ([]archive.Backup, error) {
	labels, err := r.changedLabels(ctx)
	if err != nil {
		return nil, err
	}
	var all []archive.Backup
	for _, label := range labels {
		found, err := r.repo.BackupsBelow(ctx, layout.BaseKey(label, ""))
		if err != nil {
			return nil, err
		}
		all = append(all, found...) // none if it has gone again
	}
	return all, nil
}

func (r *removal) changedLabels(ctx context.Context) ([]string, error) {
	known, notes := map[string]bool{}, map[string]time.Time{}
	for _, b := range r.backups {
		known[b.Label] = true
		for _, key := range b.Keys {
			if isNote(b.Label, key) {
				notes[key] = b.StoredAt(key)
			}
		}
	}
	var labels []string
	for info, err := range r.repo.List(ctx, layout.Base, "") {
		if err != nil {
			return nil, err
		}
		label, _, inside := strings.Cut(strings.TrimPrefix(info.Key, layout.Base), "/")
		at, read := notes[info.Key]
		switch {
		case !inside || len(labels) > 0 && labels[len(labels)-1] == label:
		case !known[label], isNote(label, info.Key) && !(read && at.Equal(info.ModTime)):
			labels = append(labels, label)
		}
	}
	return labels, nil
}

// isNote reports whether an object tells something of a backup, and is no part.
func isNote(label, key string) bool {
	return key == layout.BaseKey(label, layout.Manifest) || key == layout.BaseKey(label, layout.Start) || key == layout.BaseKey(label, layout.Pin)
}

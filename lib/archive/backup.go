package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"pgpipes/lib/layout"
	"pgpipes/lib/manifest"
	"pgpipes/lib/store"
)

// A Backup is one directory below base/.
type Backup struct {
	Label    string
	Complete bool            // it has a manifest
	Header   manifest.Header // of a complete one
	Start    Start           // of one that is not
	Pin      string          // the reason in keep, "" if it is not pinned
	Stored   int64           // bytes of all its objects
	Keys     []string
	times    []time.Time // when they were stored
	Err      error       // why its manifest cannot be read, or of one that is not complete its start
	Lost     error       // what of its stored parts is missing or cut, if it is complete
}

// Ended is when a complete backup stopped, or began if that is unknown: a stream
// without backup_manifest does not tell.
func (b Backup) Ended() time.Time {
	if b.Header.StopTime.IsZero() {
		return b.Header.StartTime
	}
	return b.Header.StopTime
}

// LastStored is when the last of its objects was: a backup that takes long is at
// work as long as something comes.
func (b Backup) LastStored() time.Time {
	if len(b.times) == 0 {
		return b.Start.Time
	}
	return slices.MaxFunc(b.times, time.Time.Compare)
}

// ErrNoBackup says that there is no backup of a label.
var ErrNoBackup = errors.New("no such backup")

// CompareEnds puts backups in the order in which they ended. Clocks that say the
// same of two leave it to the log.
func CompareEnds(a, b Backup) int {
	return cmp.Or(a.Ended().Compare(b.Ended()), cmp.Compare(a.Header.StopLSN, b.Header.StopLSN), cmp.Compare(a.Label, b.Label))
}

// Backups lists what is below base/, in the order of labels.
func (r *Repo) Backups(ctx context.Context) ([]Backup, error) {
	return r.BackupsBelow(ctx, layout.Base)
}

// BackupsBelow lists those whose keys begin with a prefix, as those of a single one
// do with layout.BaseKey(label, ""). What they say of Lost counts for nothing then:
// it takes the list of them all.
func (r *Repo) BackupsBelow(ctx context.Context, prefix string) ([]Backup, error) {
	var all []Backup
	sizes := map[string]int64{}
	for info, err := range r.List(ctx, prefix, "") {
		if err != nil {
			return nil, err
		}
		label, _, inside := strings.Cut(strings.TrimPrefix(info.Key, layout.Base), "/")
		if !inside {
			continue
		}
		if len(all) == 0 || all[len(all)-1].Label != label {
			all = append(all, Backup{Label: label})
		}
		b := &all[len(all)-1]
		b.Keys, b.times = append(b.Keys, info.Key), append(b.times, info.ModTime)
		b.Stored += info.Size
		b.Err = errors.Join(b.Err, r.Describe(ctx, b, info.Key))
		sizes[info.Key] = info.Size
	}
	for i := range all {
		all[i].Lost = all[i].findLost(sizes)
	}
	return all, nil
}

// findLost looks for the parts among what was listed, where those of all
// backups are. Where others put their parts is left to VerifyParts.
func (b *Backup) findLost(sizes map[string]int64) error {
	for _, p := range b.Header.Parts {
		size, there := sizes[p.Key]
		switch {
		case !strings.HasPrefix(p.Key, layout.Base):
		case !there:
			return fmt.Errorf("part %s: %s: %w", p.Name, p.Key, store.ErrNotExist)
		case size != p.Size:
			return fmt.Errorf("part %s: %w", p.Name, otherSize(p, size))
		}
	}
	return nil
}

func otherSize(p manifest.Part, size int64) error {
	return fmt.Errorf("%s: %w: %d bytes, stored were %d", p.Key, ErrDamaged, size, p.Size)
}

// Describe reads what an object says about its backup, and adds it to b: a
// manifest, the note of the start unless there is a manifest, which comes first and
// says all that the note does, a pin. Others say nothing.
func (r *Repo) Describe(ctx context.Context, b *Backup, key string) (err error) {
	switch key {
	case layout.BaseKey(b.Label, layout.Manifest):
		b.Complete = true
		b.Header, err = r.Header(ctx, b.Label)
	case layout.BaseKey(b.Label, layout.Start):
		if !b.Complete {
			b.Start, err = r.ReadStart(ctx, b.Label)
		}
	case layout.BaseKey(b.Label, layout.Pin):
		b.Pin = r.pin(ctx, key)
	}
	return err
}

// Unread is why nobody knows what a backup is, nil if it could be read or is damaged:
// nothing is proved by it then.
func (b Backup) Unread() error {
	if errors.Is(b.Err, ErrDamaged) || errors.Is(b.Err, store.ErrNotExist) {
		return nil
	}
	return b.Err
}

// Manifest opens the manifest of a backup.
func (r *Repo) Manifest(ctx context.Context, label string) (io.ReadCloser, error) {
	return r.Get(ctx, layout.BaseKey(label, layout.Manifest), 0, -1)
}

// Header reads the header of a backup's manifest, which has to be of this label
// and this cluster. What follows the header is left to VerifyManifest.
func (r *Repo) Header(ctx context.Context, label string) (h manifest.Header, err error) {
	err = r.readManifest(ctx, label, func(m *manifest.Reader) error {
		h = m.Header()
		switch {
		case h.Label != label:
			return fmt.Errorf("%w: it is the manifest of backup %s", ErrDamaged, h.Label)
		case h.SystemID != r.SystemID:
			return fmt.Errorf("%w: system identifier %d %w", ErrDamaged, h.SystemID, ErrForeign)
		}
		return nil
	})
	return h, err
}

// VerifyManifest reads the manifest of a backup to its end, where it proves
// whole.
func (r *Repo) VerifyManifest(ctx context.Context, label string) error {
	return r.readManifest(ctx, label, func(m *manifest.Reader) error {
		return manifest.Each(m, func(manifest.Entry) error { return nil })
	})
}

// readManifest has do read on behind the header of a backup's manifest. What is
// wrong in it is ErrDamaged.
func (r *Repo) readManifest(ctx context.Context, label string, do func(*manifest.Reader) error) error {
	body, err := r.Manifest(ctx, label)
	if err != nil {
		return err
	}
	defer body.Close()
	m, err := manifest.NewReader(body)
	if err == nil {
		err = do(m)
	}
	if errors.Is(err, manifest.ErrDamaged) {
		err = fmt.Errorf("%w: %s", ErrDamaged, strings.TrimPrefix(err.Error(), manifest.ErrDamaged.Error()+": "))
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", layout.BaseKey(label, layout.Manifest), err)
	}
	return err
}

package verify

import (
	"context"
	"errors"
	"io"
	"slices"

	"pgpipes/lib/archive"
	"pgpipes/lib/layout"
	"pgpipes/lib/manifest"
	"pgpipes/lib/store"
)

// manifestsWorth is how many bytes of parts are read, for each byte of a
// manifest, before they are compared with it: seldom enough to cost little, and
// often enough for a journal.
const manifestsWorth = 64

// readBackups reads the parts of all backups, each part once: for the backup that
// has stored it. What others use of it is compared from manifest to manifest.
func (v *verifier) readBackups(ctx context.Context) error {
	for _, b := range v.stock.backups {
		if !b.Complete || b.Err != nil {
			continue
		}
		parts, err := v.partsToRead(ctx, b)
		if err != nil {
			if err := v.unread(ctx, b.Label, err); err != nil {
				return err
			}
			continue
		}
		for len(parts) > 0 {
			n := v.bunch(b, parts)
			if err := v.readParts(ctx, b, parts[:n]); err != nil {
				return err
			}
			parts = parts[n:]
		}
	}
	return nil
}

// partsToRead are those of a backup that have to be read for it.
func (v *verifier) partsToRead(ctx context.Context, b archive.Backup) ([]manifest.Part, error) {
	doubted, err := v.doubted(ctx, b)
	if err != nil {
		return nil, err
	}
	var parts []manifest.Part
	for _, p := range b.Header.Parts {
		info, there := v.stock.objects[p.Key]
		switch {
		case p.Key == "" || !v.owns(b.Label, p) && !doubted[p.Name]:
		case there && v.Journal.has(info):
			v.skip(info)
		default:
			parts = append(parts, p)
		}
	}
	return parts, nil
}

// doubted are the parts of others about which their owner does not say the same
// as the manifest of this backup, or which have no owner that could.
func (v *verifier) doubted(ctx context.Context, b archive.Backup) (map[string]bool, error) {
	doubted := map[string]bool{}
	owners := map[string]manifest.EntrySource{}
	for _, p := range b.Header.Parts {
		if v.owns(b.Label, p) {
			continue
		}
		label, number := manifest.SplitPart(p.Name)
		owner := v.owner(label, number, p)
		if owner == nil {
			doubted[p.Name] = true
		} else if owners[label] == nil {
			m, err := v.entries(ctx, label)
			if err != nil {
				return nil, err
			}
			defer m.Close()
			owners[label] = m
		}
	}
	if len(owners) == 0 {
		return doubted, nil
	}
	own, err := v.entries(ctx, b.Label)
	if err != nil {
		return nil, err
	}
	defer own.Close()
	differ, err := manifest.Borrowed(own, owners)
	for name := range differ {
		doubted[name] = true
	}
	return doubted, err
}

// owner is the backup that has stored a part, if it is one that is verified too,
// whose manifest is whole and has the same receipt.
func (v *verifier) owner(label, number string, p manifest.Part) *archive.Backup {
	i := slices.IndexFunc(v.stock.backups, func(b archive.Backup) bool { return b.Label == label && b.Complete && b.Err == nil })
	if i < 0 {
		return nil
	}
	b := &v.stock.backups[i]
	p.Name = number
	if !slices.Contains(b.Header.Parts, p) {
		return nil
	}
	return b
}

// openEntries is a manifest that is being read.
type openEntries struct {
	*manifest.Reader
	io.Closer
}

func (v *verifier) entries(ctx context.Context, label string) (openEntries, error) {
	body, err := v.Manifest(ctx, label)
	if err != nil {
		return openEntries{}, err
	}
	m, err := manifest.NewReader(body)
	if err != nil {
		body.Close()
	}
	return openEntries{m, body}, err
}

// bunch says how many parts are read before they are compared: all of them,
// unless there is a journal to note them in.
func (v *verifier) bunch(b archive.Backup, parts []manifest.Part) int {
	if v.Journal == nil {
		return len(parts)
	}
	enough := v.stock.objects[layout.BaseKey(b.Label, layout.Manifest)].Size * manifestsWorth
	var bytes int64
	for i, p := range parts {
		if bytes += p.Size; bytes >= enough && i+1 >= v.Jobs {
			return i + 1
		}
	}
	return len(parts)
}

// readParts reads some parts of a backup and compares them with its manifest.
func (v *verifier) readParts(ctx context.Context, b archive.Backup, parts []manifest.Part) error {
	var whole []manifest.Part
	var failed error
	differs := false
	t := Tars{
		List:  func() (io.ReadCloser, error) { return v.Manifest(ctx, b.Label) },
		Parts: parts, Alone: len(b.Header.Parts) == 1, Jobs: v.Jobs,
		Open: func(p manifest.Part) (io.ReadCloser, error) { return v.openPart(ctx, b.Label, p, len(parts)) },
		Read: func(p manifest.Part, err error) {
			if err == nil {
				whole = append(whole, p)
			} else if v.judge(p.Key, err) {
				failed = errors.Join(failed, v.missPart(ctx, b.Label, p))
			}
		},
	}
	for d, err := range v.Tars(ctx, t) {
		if err != nil {
			return v.unread(ctx, b.Label, err)
		}
		differs = true
		v.found(FoundDiffers, b.Label, "%s", d)
		if err := v.halted(); err != nil {
			return err
		}
	}
	if !differs {
		for _, p := range whole {
			v.Journal.add(v.stock.objects[p.Key])
		}
	}
	return failed
}

// unread judges why a manifest cannot be read that was whole a moment ago.
func (v *verifier) unread(ctx context.Context, label string, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, store.ErrNotExist):
		v.remark("%s: expired meanwhile", label)
	case isDamage(err):
		v.judge(layout.BaseKey(label, layout.Manifest), err)
	default:
		return err
	}
	return nil
}

// openPart opens a part of a backup, one of so many.
func (v *verifier) openPart(ctx context.Context, label string, p manifest.Part, parts int) (io.ReadCloser, error) {
	if v.Source != nil {
		v.Pace.Add(p.Size)
		return v.Source(label, p)
	}
	body, err := v.open(ctx, p.Key)
	if err != nil {
		return nil, err
	}
	return archive.NewPartReader(body, p, max(1, v.Jobs/min(v.Jobs, parts)))
}

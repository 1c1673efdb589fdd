package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pgpipes/lib/archive"
	"pgpipes/lib/layout"
	"pgpipes/lib/manifest"
	"pgpipes/lib/store"
)

// checkBackups does what can be done for backups without reading their parts:
// these are there, of the size of their receipts, the WAL is there that each
// backup needs, and its manifest is whole.
func (v *verifier) checkBackups(ctx context.Context) error {
	v.missLabels()
	for i := range v.stock.backups {
		b := &v.stock.backups[i]
		if !b.Complete {
			v.remark("%s: not complete: begun and not ended, or interrupted", b.Label)
		} else {
			v.result.Backups++
		}
		if b.Complete && b.Err != nil {
			v.remark("%s: its parts are not looked at: nothing tells what they have to be", b.Label)
		}
		if !b.Complete || b.Err != nil {
			continue
		}
		if err := v.checkBackup(ctx, b); err != nil {
			return err
		}
		if err := v.halted(); err != nil {
			return err
		}
	}
	return nil
}

// missLabels finds that backups which were asked for are not there.
func (v *verifier) missLabels() {
	for _, label := range v.Labels {
		there := slices.ContainsFunc(v.stock.backups, func(b archive.Backup) bool {
			return b.Label == label && slices.Contains(b.Keys, layout.BaseKey(label, layout.Manifest))
		})
		if !there {
			v.found(FoundMissing, label, "no such backup: %v", store.ErrNotExist)
		}
	}
}

func (v *verifier) checkBackup(ctx context.Context, b *archive.Backup) error {
	for _, key := range b.Orphans() {
		v.remark("%s: no manifest names it; expire will remove it", key)
	}
	if len(b.Header.Parts) == 0 || slices.ContainsFunc(b.Header.Parts, func(p manifest.Part) bool { return p.Key == "" }) {
		v.found(FoundDamaged, layout.BaseKey(b.Label, layout.Manifest), "it names no stored parts")
	}
	for _, p := range b.Header.Parts {
		if err := v.checkPart(ctx, b.Label, p); err != nil {
			return err
		}
		if v.all() && !v.Quick && v.owns(b.Label, p) {
			v.stock.bytes += p.Size
		}
	}
	if err := v.checkNeeds(ctx, b); err != nil {
		return err
	}
	if err := v.VerifyManifest(ctx, b.Label); err != nil {
		b.Err = err
		v.judge(layout.BaseKey(b.Label, layout.Manifest), err)
	}
	return ctx.Err()
}

// checkPart compares a part with its receipt by size. One that is missing is
// looked for again, as is its backup, which may have been expired.
func (v *verifier) checkPart(ctx context.Context, label string, p manifest.Part) error {
	if p.Key == "" {
		return nil
	}
	info, there := v.stock.objects[p.Key]
	if !there {
		var err error
		switch info, err = v.Stat(ctx, p.Key); {
		case errors.Is(err, store.ErrNotExist):
			return v.missPart(ctx, label, p)
		case err != nil:
			return err
		}
		v.stock.objects[p.Key] = info
	}
	if info.Size != p.Size {
		v.found(FoundDamaged, p.Key, "%d bytes, stored were %d", info.Size, p.Size)
	}
	return nil
}

func (v *verifier) missPart(ctx context.Context, label string, p manifest.Part) error {
	return v.missFor(ctx, label, Finding{FoundMissing, p.Key, fmt.Sprintf("backup %s needs it, as part %s: %v", label, p.Name, store.ErrNotExist)})
}

// missFor tells that something is missing for a backup, unless that is gone too.
func (v *verifier) missFor(ctx context.Context, label string, f Finding) error {
	_, err := v.Stat(ctx, layout.BaseKey(label, layout.Manifest))
	if err == nil {
		err = v.StillThere(ctx) // what is not mounted is not missing
	}
	if errors.Is(err, store.ErrNotExist) {
		v.remark("%s: expired meanwhile", label)
		return nil
	}
	if err == nil {
		v.found(f.Kind, f.Name, "%s", f.What)
	}
	return err
}

// checkNeeds finds WAL that a backup needs and that is missing: all of it, and
// again for every backup, in whatever files.
func (v *verifier) checkNeeds(ctx context.Context, b *archive.Backup) error {
	missing := v.stock.coverage.MissingFor(b.Header)
	if missing == "" {
		return nil
	}
	now, err := v.look(ctx)
	if err != nil {
		return err
	}
	if missing = now.MissingFor(b.Header); missing == "" {
		return nil
	}
	what := fmt.Sprintf("backup %s needs it: %v%s", b.Label, archive.ErrHole, now.Why(missing))
	return v.missFor(ctx, b.Label, Finding{FoundMissing, missing, what})
}

// look takes stock of the WAL again, once: segments may have come and gone while
// the first list was made.
func (v *verifier) look(ctx context.Context) (archive.Coverage, error) {
	if v.second == nil {
		now, err := v.ListSegments(ctx)
		if err != nil {
			return archive.Coverage{}, err
		}
		c := v.stock.coverage
		c.Ranges, c.Times = now.Ranges, now.Times
		v.second = &c
	}
	return *v.second, nil
}

// owns reports whether a part is one that this backup has stored itself.
func (v *verifier) owns(label string, p manifest.Part) bool {
	owner, _ := manifest.SplitPart(p.Name)
	return owner == "" || owner == label
}

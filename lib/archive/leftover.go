package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"pgpipes/lib/layout"
	"pgpipes/lib/manifest"
	"pgpipes/lib/store"
)

// Leftover tells what an interrupted backup has left: a header of what is known
// of it, and its stored parts by name and key. The error wraps ErrNoLeftover if
// the backup is complete or has never begun.
//
// The time and the timeline in the header are those of its first run, the LSN is
// that of the last one.
func (r *Repo) Leftover(ctx context.Context, label string) (manifest.Header, []manifest.Part, error) {
	if _, err := r.Stat(ctx, layout.BaseKey(label, layout.Manifest)); !errors.Is(err, store.ErrNotExist) {
		return manifest.Header{}, nil, cmp.Or(err, fmt.Errorf("%s: %w: it is complete", label, ErrNoLeftover))
	}
	s, err := r.ReadStart(ctx, label)
	if errors.Is(err, store.ErrNotExist) {
		err = fmt.Errorf("%s: %w: there is no record of its start", label, ErrNoLeftover)
	}
	if err != nil {
		return manifest.Header{}, nil, err
	}
	parts, err := r.storedParts(ctx, label)
	return manifest.Header{
		Label: label, Parent: s.Parent, SystemID: r.SystemID, Major: r.Major, SegmentSize: r.SegmentSize,
		From: s.From, BlockSize: s.BlockSize, Checksums: s.Checksums,
		StartTimeline: s.FirstTimeline, StartLSN: s.LSN, StartTime: s.FirstTime,
	}, parts, err
}

// ErrNoLeftover says that a backup was not interrupted.
var ErrNoLeftover = errors.New("not an interrupted backup")

func (r *Repo) storedParts(ctx context.Context, label string) ([]manifest.Part, error) {
	var parts []manifest.Part
	seen := map[string]string{}
	for info, err := range r.List(ctx, layout.BaseKey(label, ""), "") {
		if err != nil {
			return nil, err
		}
		name := PartNumber(info.Key)
		if name == "" {
			continue
		}
		if other := seen[name]; other != "" {
			return nil, fmt.Errorf("%s: %w: %s is of the same part", info.Key, ErrDamaged, other)
		}
		seen[name] = info.Key
		parts = append(parts, manifest.Part{Name: name, Key: info.Key})
	}
	return parts, nil
}

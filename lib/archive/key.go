package archive

import (
	"context"
	"path"

	"pgpipes/lib/codec"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

const (
	walPrefix     = "wal/"
	historyPrefix = "wal/history/"
	basePrefix    = "base/"
)

// walKey is where a WAL file is kept, without the suffix of a codec.
func walKey(n wal.Name) string {
	if n.Kind == wal.TimelineHistory {
		return historyPrefix + n.String()
	}
	return walPrefix + n.Base()[:16] + "/" + n.String()
}

// parseWALKey is the inverse of walKey for any codec. Keys that are no WAL
// file's are not ok.
func parseWALKey(key string) (n wal.Name, f codec.Format, ok bool) {
	plain, f := codec.SplitName(key)
	n, err := wal.ParseName(path.Base(plain))
	return n, f, err == nil && walKey(n) == plain
}

// timelinePrefix begins the keys of all files of a timeline but its history.
func timelinePrefix(tli wal.Timeline) string { return walPrefix + tli.String() }

// afterSegment is a key after all files of a segment and before those of the
// next.
func afterSegment(base string) string { return walPrefix + base[:16] + "/" + base + "~" }

// baseKey is where something of a backup is kept.
func baseKey(label, name string) string { return basePrefix + label + "/" + name }

// forms lists the objects that hold a WAL file: none, one, or several if the
// codec was changed between two attempts to store it.
func (r *Repo) forms(ctx context.Context, n wal.Name) ([]store.Info, error) {
	var found []store.Info
	key := walKey(n)
	for info, err := range r.List(ctx, key, "") {
		if err != nil {
			return nil, err
		}
		if plain, _ := codec.SplitName(info.Key); plain == key {
			found = append(found, info)
		}
	}
	return found, nil
}

package archive

import (
	"path"
	"slices"
	"strings"
	"time"

	"pgpipes/lib/manifest"
)

// Needs are the labels of the other backups whose parts a backup uses, or will
// use when it is complete.
func (b Backup) Needs() []string {
	if !b.Complete {
		if b.Start.Parent == "" {
			return nil
		}
		return []string{b.Start.Parent}
	}
	var labels []string
	for _, p := range b.Header.Parts {
		if label, _ := manifest.SplitPart(p.Name); label != "" && !slices.Contains(labels, label) {
			labels = append(labels, label)
		}
	}
	return labels
}

// Orphans are the keys of parts that a complete backup has stored and does not
// name: of tries that failed. They are no use to anybody. What has the number of a
// part that is named belongs to that, as a signature does.
func (b Backup) Orphans() []string {
	if !b.Complete || b.Err != nil {
		return nil
	}
	named, taken := map[string]bool{}, map[string]bool{}
	for _, p := range b.Header.Parts {
		named[p.Key] = true
		if label, number := manifest.SplitPart(p.Name); label == "" {
			taken[number] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(b.Keys), func(key string) bool {
		number := PartNumber(key)
		return number == "" || named[key] || taken[number]
	})
}

// StoredAt is when an object of the backup was stored, zero if it has none of this
// key.
func (b Backup) StoredAt(key string) time.Time {
	if i := slices.Index(b.Keys, key); i >= 0 && i < len(b.times) {
		return b.times[i]
	}
	return time.Time{}
}

// PartNumber is the number of the part that a key is for by its name, NNN and
// perhaps a suffix, "" if it is no part's.
func PartNumber(key string) string {
	number, _, _ := strings.Cut(path.Base(key), ".")
	if !manifest.ValidPart(number) {
		return ""
	}
	return number
}

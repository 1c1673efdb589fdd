package archive

import (
	"path"
	"slices"
	"strings"
	"time"

	"pgpipes/lib/manifest"
	"pgpipes/lib/retain"
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

// stored is when an object of the backup was.
func (b Backup) stored(key string) time.Time {
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

// kindPart is the kind of decisions about stored parts that nobody needs.
const kindPart = "part"

// decideOrphans lets those of the backups go that stay, when they are old. None is
// one that another backup uses: that has it from the manifest of this one.
func (e *Expiry) decideOrphans() {
	used := map[string]bool{}
	for _, b := range e.backups {
		for _, p := range b.Header.Parts {
			used[p.Key] = true
		}
	}
	for _, b := range e.backups {
		if e.drops(b.Label) {
			continue
		}
		for _, key := range b.Orphans() {
			if !used[key] && e.now.Sub(b.stored(key)) > sweepAge {
				e.orphans = append(e.orphans, key)
				e.Decisions = append(e.Decisions, retain.Decision{Kind: kindPart, Name: key, Reason: "no manifest names it"})
			}
		}
	}
}

// generations are the backups that are dropped: the first those whose parts no
// other one of them uses, then those that these use, and so on.
func (e *Expiry) generations() [][]Backup {
	depth := map[string]int{}
	var all [][]Backup
	for _, b := range e.childrenFirst() {
		d := depth[b.Label]
		for _, label := range b.Needs() {
			depth[label] = max(depth[label], d+1)
		}
		for len(all) <= d {
			all = append(all, nil)
		}
		all[d] = append(all[d], b)
	}
	return all
}

// childrenFirst are the backups that are dropped, each one after those that use
// its parts.
func (e *Expiry) childrenFirst() []Backup {
	users, dropped := map[string][]Backup{}, []Backup{}
	for _, b := range e.backups {
		if !e.drops(b.Label) {
			continue
		}
		dropped = append(dropped, b)
		for _, label := range b.Needs() {
			users[label] = append(users[label], b)
		}
	}
	var order []Backup
	seen := map[string]bool{}
	var visit func(b Backup)
	visit = func(b Backup) {
		if seen[b.Label] {
			return
		}
		seen[b.Label] = true
		for _, user := range users[b.Label] {
			visit(user)
		}
		order = append(order, b)
	}
	for _, b := range dropped {
		visit(b)
	}
	return order
}

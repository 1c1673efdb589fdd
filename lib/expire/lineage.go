package expire

import (
	"pgpipes/lib/archive"
	"pgpipes/lib/retain"
)

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
			if !used[key] && e.now.Sub(b.StoredAt(key)) > sweepAge {
				e.orphans = append(e.orphans, key)
				e.Decisions = append(e.Decisions, retain.Decision{Kind: kindPart, Name: key, Reason: "no manifest names it"})
			}
		}
	}
}

// generations are the backups that are dropped: the first those whose parts no
// other one of them uses, then those that these use, and so on.
func (e *Expiry) generations() [][]archive.Backup {
	depth := map[string]int{}
	var all [][]archive.Backup
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
func (e *Expiry) childrenFirst() []archive.Backup {
	users, dropped := map[string][]archive.Backup{}, []archive.Backup{}
	for _, b := range e.backups {
		if !e.drops(b.Label) {
			continue
		}
		dropped = append(dropped, b)
		for _, label := range b.Needs() {
			users[label] = append(users[label], b)
		}
	}
	var order []archive.Backup
	seen := map[string]bool{}
	var visit func(b archive.Backup)
	visit = func(b archive.Backup) {
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

package retain

// keepNeeded turns the decisions about those backups round whose parts a kept
// backup uses, directly or through others. The decisions are in the order of
// labels, and so of several that need a backup the first is named.
func keepNeeded(s State, decisions []Decision) {
	needs := make(map[string][]string)
	for _, b := range s.Backups {
		needs[b.Label] = b.Needs
	}
	place := make(map[string]int)
	var kept []string
	for i, d := range decisions {
		place[d.Name] = i
		if d.Keep {
			kept = append(kept, d.Name)
		}
	}
	for ; len(kept) > 0; kept = kept[1:] { // it grows meanwhile
		for _, label := range needs[kept[0]] {
			if i, there := place[label]; there && !decisions[i].Keep {
				decisions[i].Keep, decisions[i].Reason = true, "needed by "+kept[0]
				kept = append(kept, label)
			}
		}
	}
}

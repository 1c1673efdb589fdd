package manifest

import "io"

// Borrowed compares what a manifest says about entries in parts of other
// backups with the manifests of these, which are given by label, and names the
// parts about which they do not agree: what is in them has to be looked at. What
// is in parts of backups that are not given is passed over. It reads every
// manifest once.
func Borrowed(m EntrySource, owners map[string]EntrySource) (parts map[string]bool, err error) {
	parts = map[string]bool{}
	sides := map[string]*side{}
	for label, owner := range owners {
		sides[label] = &side{source: owner}
	}
	for {
		e, err := m.Next()
		if err == io.EOF {
			return parts, nil
		}
		if err != nil {
			return nil, err
		}
		label, number := SplitPart(e.Part)
		owner := sides[label]
		if owner == nil || parts[e.Part] {
			continue
		}
		same, err := owner.has(&e, number)
		if err != nil {
			return nil, err
		}
		if !same {
			parts[e.Part] = true
		}
	}
}

// has reports whether the side has the same entry in the part of that name. The
// entries asked for must ascend.
func (s *side) has(e *Entry, part string) (bool, error) {
	key := Escape(e.Path)
	for {
		if err := s.fill(); err != nil {
			return false, err
		}
		if !s.held || s.key >= key {
			break
		}
		s.held = false
	}
	if !s.held || s.key != key || s.entry.Part != part {
		return false, nil
	}
	return len(CompareOptions{IgnoreOwner: true}.compare(e, &s.entry)) == 0, nil
}

package model

import "pgpipes/lib/wal"

// expected is the status with which a get of a name must end now.
func (h *host) expected(name string) int {
	worst := absent
	for _, m := range h.mounts {
		switch status := m.expected(name); status {
		case delivered:
			return delivered
		case stop:
			worst = stop
		}
	}
	return worst
}

func (m *mount) expected(name string) int {
	d := m.disk()
	switch {
	case m.gone != "" || !exists(d.repo("pgpipes")):
		return stop
	case len(d.forms(name)) > 0:
		return delivered
	case d.hole(name):
		return stop
	}
	return absent
}

// hole reports whether something in the repository shows that a name must have
// existed, or that recovery must not go on without it.
func (d *disk) hole(name string) bool {
	n, err := wal.ParseName(name)
	d.w.must(err)
	number, stored := uint64(0), d.stored()
	if n.Kind == wal.Segment {
		number, err = segmentSize.Split(n)
		d.w.must(err)
	}
	for other := range stored {
		o, err := wal.ParseName(other)
		d.w.must(err)
		history := d.cluster.lines[o.Timeline]
		switch {
		case n.Kind == wal.TimelineHistory && n.Timeline > 1:
			if o.Timeline > n.Timeline && o.Kind == wal.TimelineHistory || o.Timeline == n.Timeline {
				return true
			}
		case n.Kind == wal.Segment && o.Kind == wal.TimelineHistory:
			if at, descends := history.SwitchFrom(n.Timeline); descends && segmentSize.Number(at) > number {
				return true
			}
			if o.Timeline == n.Timeline && segmentSize.Number(history[len(history)-1].At) == number && d.ancestor(history, number) {
				return true
			}
		case n.Kind == wal.Segment:
			if o.Timeline == n.Timeline && o.Base() > n.Base() {
				return true
			}
		}
	}
	return false
}

// ancestor reports whether there is a segment of that number of an ancestor,
// which recovery would take in place of the first one of the timeline.
func (d *disk) ancestor(history wal.History, number uint64) bool {
	for _, s := range history {
		if len(d.forms(segmentSize.Name(s.Parent, number))) > 0 {
			return true
		}
	}
	return false
}

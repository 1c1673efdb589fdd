package model

import "pgpipes/lib/wal"

// question draws a name to ask for: of a file that was written, or of one that
// was not.
func (h *host) question() string {
	w, tli := h.w, wal.Timeline(1+h.w.chance.IntN(int(h.timeline)+1))
	known := len(h.order) > 0 && !w.one(3)
	pick := w.chance.IntN(max(1, len(h.order)))
	number := 1 + uint64(w.chance.IntN(int(h.next)+3))
	switch {
	case known:
		return h.order[pick]
	case w.one(3):
		return tli.String() + ".history"
	}
	return segmentSize.Name(tli, number)
}

// finalGets asks for what there is and for what comes after it, in a world where
// all is well.
func (w *world) finalGets() {
	for _, h := range w.hosts {
		for range 3 {
			h.ask(0, h.question(), trouble{}).finish()
		}
		h.ask(0, segmentSize.Name(h.timeline, h.next), trouble{}).finish()
		h.ask(0, (h.timeline+1).String()+".history", trouble{}).finish()
	}
}

// get asks once, or has two servers ask at once.
func (w *world) get(h *host) {
	name, t, twice := h.question(), h.trouble().forGet(), w.one(3)
	if !twice || t.worldly {
		h.ask(0, name, t).finish()
		return
	}
	first, second := h.ask(0, name, t), h.ask(1, name, trouble{})
	first.finish()
	second.finish()
}

// replay asks for segments one after the other, as recovery does. What was
// fetched ahead meanwhile may be spoilt.
func (w *world) replay(h *host) {
	n := 1 + uint64(w.chance.IntN(int(h.next)))
	for range 2 + w.chance.IntN(6) {
		a, spoil, how := h.ask(0, segmentSize.Name(h.timeline, n), h.trouble().forGet()), w.one(4), pickOne(w, damages)
		if a.finish() != delivered {
			break
		}
		if n++; spoil {
			w.alone()
			w.logf("state %d: %s", h.state, how)
			w.must(w.damage(w.states[h.state], how))
		}
	}
}

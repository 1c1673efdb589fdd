package model

import (
	"os"
	"strings"
)

// most is how many segments a cluster writes in one world.
const most = 40

// pick draws what happens next.
func (w *world) pick() func() {
	h := pickOne(w, w.hosts)
	m := pickOne(w, h.mounts)
	c := h.cluster
	steps := []struct {
		weight int
		do     func()
	}{
		{20, func() { w.write(c, 1+w.chance.IntN(6)) }},
		{36, func() { h.run(1+w.chance.IntN(6), false) }},
		{8, func() { w.get(h) }},
		{5, func() { w.replay(h) }},
		{5, func() { w.together(h) }},
		{8, func() { w.toggle(m) }},
		{4, func() { w.starve(m) }},
		{5, w.loseState},
		{6, func() { w.recycle(h) }},
		{3, func() { w.crash(h) }},
		{3, func() { w.promote(c) }},
		{2, func() { w.backup(c) }},
		{3, func() { w.forget(m.disk()) }},
		{6, func() { w.twin(h) }},
		{3, func() { w.split(h) }},
		{2, func() { w.configure(h) }},
		{3, func() { w.resume() }},
		{1, func() { w.exchange(m) }},
	}
	sum := 0
	for _, s := range steps {
		sum += s.weight
	}
	n := w.chance.IntN(sum)
	for _, s := range steps {
		if n -= s.weight; n < 0 {
			return s.do
		}
	}
	panic("unreachable")
}

// archive offers a file to the archivers of all servers that have it.
func (w *world) archive(c *cluster, name string) {
	for i, h := range w.hosts {
		primary := i == 0 || w.hosts[i-1].cluster != c
		if h.cluster == c && (primary || !strings.HasSuffix(name, ".backup") && !strings.HasSuffix(name, ".partial")) {
			h.archive(name)
		}
	}
}

func (w *world) write(c *cluster, count int) {
	var log []string
	for range count {
		if c.next > most {
			break
		}
		name := c.segment(w.chance)
		w.archive(c, name)
		log = append(log, short(name))
	}
	w.logf("write %s", strings.Join(log, " "))
}

func (w *world) backup(c *cluster) {
	if c.next > 1 && len(c.files[segment(c)]) > 0 {
		name := c.backup(w.chance)
		w.logf("write %s", short(name))
		w.archive(c, name)
	}
}

// segment is the last complete one of the timeline, if it has one.
func segment(c *cluster) string { return segmentSize.Name(c.timeline, c.next-1) }

func (w *world) promote(c *cluster) {
	old := c.timeline
	names := c.promote(w.chance)
	for _, h := range w.hosts {
		if h.cluster == c {
			h.follow(old)
		}
	}
	for _, name := range names {
		w.archive(c, name)
	}
	w.logf("promote: %s %s", names[0], short(names[1]))
}

func (w *world) recycle(h *host) {
	count := 1 + w.chance.IntN(8)
	w.logf("checkpoint %s: %d", h.name, count)
	h.checkpoint(count)
}

func (w *world) crash(h *host) {
	lost := w.chance.IntN(lostRenames + 1)
	w.logf("crash %s: %d renames lost", h.name, lost)
	h.restart(lost)
}

// toggle takes a disk away or brings it back.
func (w *world) toggle(m *mount) {
	outage := pickOne(w, w.outages())
	if m.gone != "" {
		w.logf("appear %s", m.link)
		w.must(m.present())
		return
	}
	w.logf("vanish %s: %s", m.link, outage)
	w.must(m.vanish(outage))
}

// starve fills a disk or makes it read-only, or takes that back.
func (w *world) starve(m *mount) {
	d, left, protect := m.disk(), int64(w.chance.IntN(600<<10)), w.one(2)
	switch {
	case !d.mounted:
	case d.full || d.readonly:
		w.logf("heal %s", m.link)
		d.heal()
	case protect:
		w.logf("protect %s", m.link)
		d.protect(true)
	default:
		w.logf("fill %s but for %d", m.link, left)
		d.fill(left)
	}
}

// exchange puts a new disk in place of a repository's, as an administrator does
// who begins anew.
func (w *world) exchange(m *mount) {
	w.logf("exchange %s", m.link)
	w.must(m.exchange(w.newDisk(m.disk().cluster)))
}

// forget lets a disk lose some of what it has but has not been promised to have:
// as after a crash, or when an older copy of it is put in its place.
func (w *world) forget(d *disk) {
	if len(w.orphans) > 0 || d.readonly {
		return
	}
	var log []string
	for name, files := range d.stored() {
		if !d.promised[name] {
			w.forgotten[name] = true
			log = append(log, short(name))
			for _, file := range files {
				w.must(os.Remove(file))
			}
		}
	}
	w.logf("forget %v", log)
}

// together lets two servers archive at the same time.
func (w *world) together(h *host) {
	other := pickOne(w, w.hosts)
	a, b := h.pending(), ""
	if other != h {
		b = other.pending()
	} else {
		b = a // a second archiver, as when the first has not noticed that its server is gone
	}
	h.cached, other.cached = nil, nil
	if a == "" || b == "" {
		return
	}
	t := h.trouble()
	if t.abandon {
		t = trouble{}
	}
	y, x := other.push(b, trouble{}), h.push(a, t) // nothing happens to the world before both have begun
	first, second := x.end(), y.end()
	w.logf("together %s %s=%d%s, %s %s=%d", h.name, short(a), first, t, other.name, short(b), second)
	if t.worldly {
		y.trouble = t
	}
	h.judge(x, a, first)
	other.judge(y, b, second)
	if first == 0 {
		h.done(a)
	}
	if second == 0 && other != h {
		other.done(b)
	}
}

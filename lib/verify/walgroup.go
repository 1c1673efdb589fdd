package verify

import (
	"context"
	"iter"
	"slices"

	"pgpipes/lib/archive"
	"pgpipes/lib/layout"
	"pgpipes/lib/retain"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

// A walGroup is all that is stored under the name of one segment: it, perhaps
// in several forms, the .partial file and the .backup files.
type walGroup struct {
	timeline wal.Timeline
	number   uint64
	files    []walFile
}

// A walFile is one WAL file, and the objects that hold it.
type walFile struct {
	name  wal.Name
	forms []store.Info // the best one first
}

func (g *walGroup) add(n wal.Name, info store.Info) {
	i := slices.IndexFunc(g.files, func(f walFile) bool { return f.name == n })
	if i < 0 {
		g.files = append(g.files, walFile{name: n})
		i = len(g.files) - 1
	}
	f := &g.files[i]
	f.forms = append(f.forms, info)
	slices.SortFunc(f.forms, archive.CompareForms)
}

// follows reports whether a group is the one after another on its timeline.
func (g *walGroup) follows(other *walGroup) bool {
	return other != nil && g.timeline == other.timeline && g.number == other.number+1
}

// objects are all of a group.
func (g *walGroup) objects() (all []store.Info) {
	for _, f := range g.files {
		all = append(all, f.forms...)
	}
	return all
}

// walGroups gives all WAL but the histories, by timeline and number; of some
// backups only what these need.
func (v *verifier) walGroups(ctx context.Context) iter.Seq2[*walGroup, error] {
	return func(yield func(*walGroup, error) bool) {
		if v.all() {
			v.listGroups(ctx, layout.WAL, "", nil, yield)
			return
		}
		for _, w := range v.neededWAL() {
			after := ""
			if w.First > 0 {
				after = layout.AfterSegment(v.SegmentSize.Name(w.Timeline, w.First-1))
			}
			if !v.listGroups(ctx, layout.Timeline(w.Timeline), after, &w, yield) {
				return
			}
		}
	}
}

// neededWAL is what the backups that were asked for need, each segment once, by
// timeline and number.
func (v *verifier) neededWAL() []retain.WALRange {
	var all []retain.WALRange
	for _, b := range v.stock.backups {
		if b.Complete && b.Err == nil && !b.Header.WAL && b.Header.StopTimeline > 0 {
			all = append(all, v.stock.coverage.Needed(b.Header)...)
		}
	}
	return joinRuns(all)
}

// segment is the name of a segment that there can be.
func (v *verifier) segment(tli wal.Timeline, number uint64) wal.Name {
	n, _ := wal.ParseName(v.SegmentSize.Name(tli, number))
	return n
}

// listGroups gives groups as they are listed, of a range if there is one. It
// reports whether to go on.
func (v *verifier) listGroups(ctx context.Context, prefix, after string, within *retain.WALRange, yield func(*walGroup, error) bool) bool {
	var g *walGroup
	for info, err := range v.List(ctx, prefix, after) {
		if err != nil {
			yield(nil, err)
			return false
		}
		n, _, ok := layout.ParseWALKey(info.Key)
		if !ok || n.Kind == wal.TimelineHistory {
			continue
		}
		number, err := v.SegmentSize.Split(n)
		if err != nil || within != nil && n.Kind != wal.Segment {
			continue
		}
		if within != nil && number > within.Last {
			break
		}
		if g != nil && (g.timeline != n.Timeline || g.number != number) {
			if !yield(g, nil) {
				return false
			}
			g = nil
		}
		if g == nil {
			g = &walGroup{timeline: n.Timeline, number: number}
		}
		g.add(n, info)
	}
	return g == nil || yield(g, nil)
}

// unknownGroups leaves out the groups that a journal knows, but for the neighbours of
// those that it does not know: the log is checked from one to the next. Where a
// timeline begins, the history may have changed that tells of it.
func (v *verifier) unknownGroups(ctx context.Context) iter.Seq2[*walGroup, error] {
	return func(yield func(*walGroup, error) bool) {
		var before, held *walGroup // the two before the one at hand
		pass := func(next *walGroup) bool {
			if held == nil {
				return true
			}
			beside := before != nil && held.follows(before) && !v.knows(before) || next != nil && next.follows(held) && !v.knows(next)
			if !v.knows(held) || beside {
				return yield(held, nil)
			}
			for _, info := range held.objects() {
				v.skip(info)
			}
			return true
		}
		for g, err := range v.walGroups(ctx) {
			if err != nil {
				yield(nil, err)
				return
			}
			if !pass(g) {
				return
			}
			before, held = held, g
		}
		pass(nil)
	}
}

// knows reports whether the journal knows all of a group.
func (v *verifier) knows(g *walGroup) bool {
	if v.Journal == nil || v.begins(g) {
		return false
	}
	return !slices.ContainsFunc(g.objects(), func(info store.Info) bool { return !v.Journal.has(info) })
}

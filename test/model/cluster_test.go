package model

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
)

const (
	systemID    = fixture.SystemID
	segmentSize = wal.MinSegmentSize
)

// A cluster is what its servers have in common: the log.
type cluster struct {
	system   uint64
	timeline wal.Timeline
	next     uint64 // number of the segment that is being written
	history  string // of the timeline
	files    map[string][]byte
	order    []string   // their names as they were written
	branch   wal.Switch // where the timeline began
	parent   []byte     // the segment in which it did, of the parent
	lines    map[wal.Timeline]wal.History
}

func newCluster(system uint64) *cluster {
	return &cluster{system: system, timeline: 1, next: 1, files: map[string][]byte{}, lines: map[wal.Timeline]wal.History{}}
}

func (c *cluster) add(name string, contents []byte) string {
	if _, there := c.files[name]; !there {
		c.order = append(c.order, name)
	}
	c.files[name] = contents
	return name
}

// segment completes the segment that is being written.
func (c *cluster) segment(r *rand.Rand) string {
	name := segmentSize.Name(c.timeline, c.next)
	contents := c.body(r, name, c.timeline)
	if c.timeline > 1 && segmentSize.Number(c.branch.At) == c.next {
		copy(contents, c.parent[:c.branch.At%wal.LSN(segmentSize)])
	}
	c.next++
	return c.add(name, contents)
}

// body makes up a segment: random at the beginning, and a little further on.
func (c *cluster) body(r *rand.Rand, name string, tli wal.Timeline) []byte {
	b := make([]byte, segmentSize)
	random := func(from, to int) {
		for at := from; at+8 <= to; at += 8 {
			binary.LittleEndian.PutUint64(b[at:], r.Uint64())
		}
	}
	random(0, 512<<r.IntN(7))
	at := r.IntN(len(b) - 8192)
	random(at, at+r.IntN(8192))
	copy(b, fixture.Segment{Name: name, SystemID: c.system, Timeline: tli}.Header())
	return b
}

// backup ends a base backup in the last complete segment.
func (c *cluster) backup(r *rand.Rand) string {
	n := c.next - 1
	segment, offset := segmentSize.Name(c.timeline, n), 40+8*r.IntN(1000)
	start := segmentSize.Start(n) + wal.LSN(offset)
	text := fmt.Sprintf("START WAL LOCATION: %s (file %s)\nSTOP WAL LOCATION: %s (file %s)\nLABEL: %x\n", start, segment, start+100, segment, r.Uint64())
	return c.add(fmt.Sprintf("%s.%08X.backup", segment, offset), []byte(text))
}

// promote begins a new timeline in the segment that is being written, and
// returns the names of the files to be archived for that: the history, and what
// was written of the segment.
func (c *cluster) promote(r *rand.Rand) []string {
	old := segmentSize.Name(c.timeline, c.next)
	at := segmentSize.Start(c.next) + wal.LSN(8192*(1+r.IntN(100)))
	if at <= c.branch.At { // twice in one segment
		at = c.branch.At + 8192
	}
	c.parent = c.body(r, old, c.timeline)
	if c.timeline > 1 && segmentSize.Number(c.branch.At) == c.next {
		copy(c.parent, fixture.Segment{Name: old, SystemID: c.system, Timeline: c.branch.Parent}.Header())
	}
	c.branch = wal.Switch{Parent: c.timeline, At: at}
	c.history += fmt.Sprintf("%d\t%s\tno recovery target specified %x\n", uint32(c.timeline), at, r.Uint64())
	c.lines[c.timeline+1] = append(append(wal.History{}, c.lines[c.timeline]...), c.branch)
	c.timeline++
	return []string{c.add(c.timeline.String()+".history", []byte(c.history)), c.add(old+".partial", c.parent)}
}

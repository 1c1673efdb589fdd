package wal

import "fmt"

// A Link is what a walk through one segment leaves to be compared with the
// segments before and after it.
type Link struct {
	Name   Name
	Header Header
	End    LSN // where its log ends: the end of the segment, or of the last record of a partial one
	Pages  LSN // behind the last page that was looked at
	Turned LSN // the first page of the timeline that it is called for, 0 if there is none
	Open   LSN // where a record begins that goes on in the next segment, 0 if none does

	tli         Timeline // of the last page
	first       Record   // whose header is in the segment; At is 0 if there is none
	last        LSN      // where the last record that is whole here begins, 0 if there is none
	head        run      // the rest of a record of the segment before; size 0 if there is none
	tail        run      // a record that goes on in the next one; size 0 if there is none
	overwrites  bool     // the record of the segment before was never finished
	overwritten LSN      // this one
	switched    bool     // the log ends with the head, which must be a switch
}

// A Chain joins segments that were walked one by one, in any order and at once,
// to one log. It checks what the segments cannot tell alone: that records which
// cross a border are whole, and that the first record of each segment follows
// the last of the one before.
//
// The zero Chain may begin with any segment. Of the first one it cannot be known
// whether it continues what was before it.
type Chain struct {
	Listener // told of the records that cross a border

	begun  bool
	before Link
	prev   LSN  // where the last whole record begins, 0 if that is not known
	open   run  // a record that is not whole yet; size 0 if there is none
	opened Name // the segment in which it begins
}

// Add takes the next segment: that of the next number, of the same timeline or
// of one that left it here. Errors wrap ErrRecord and are a *Damage. After an
// error the chain begins anew with this segment.
func (c *Chain) Add(l Link) error {
	var err error
	if c.begun {
		err = c.join(&l)
	}
	if err != nil || !c.begun {
		*c = Chain{Listener: c.Listener, begun: true}
		if l.head.missing() > 0 && !l.overwrites {
			c.open = run{size: l.head.size, got: l.head.got, skip: leadSize}
		}
	}
	c.advance(l)
	return err
}

// advance goes to the end of a segment.
func (c *Chain) advance(l Link) {
	c.before = l
	if l.last != 0 {
		c.prev = l.last
	}
	if l.tail.size > 0 {
		c.open, c.opened = l.tail, l.Name
	}
}

func (c *Chain) join(l *Link) error {
	if bad := c.adjoins(l); bad != "" {
		return &Damage{l.Name, true, l.Header.PageAddr, bad}
	}
	if err := c.joinRecord(l); err != nil {
		return err
	}
	if l.first.At != 0 && c.prev != 0 && l.first.Prev != c.prev {
		return &Damage{l.Name, false, l.first.At, linkFault(l.first.Prev, c.prev)}
	}
	return nil
}

// adjoins says why a segment cannot follow the one before.
func (c *Chain) adjoins(l *Link) string {
	a, b := c.before.Header, l.Header
	switch {
	case a.SystemID != b.SystemID:
		return fmt.Sprintf("it is of the cluster %d, the segment before it of %d", b.SystemID, a.SystemID)
	case a.Magic != b.Magic || a.BlockSize != b.BlockSize || a.SegmentSize != b.SegmentSize:
		return "it is of another version or another size than the segment before it"
	case c.before.End != b.PageAddr:
		return fmt.Sprintf("%s ends at %s", c.before.Name, c.before.End)
	case l.Name.Timeline < c.before.Name.Timeline || b.Timeline < c.before.tli:
		return fmt.Sprintf("timeline %d after %d", b.Timeline, c.before.tli)
	}
	return ""
}

// joinRecord minds the record that crosses the border, if there is one.
func (c *Chain) joinRecord(l *Link) error {
	if bad := c.fits(l); bad != "" {
		return &Damage{l.Name, true, l.Header.PageAddr, bad}
	}
	switch {
	case c.open.size == 0:
		return nil
	case l.overwrites:
		c.open = run{}
		return nil
	}
	hadHeader := c.open.got >= recordHeader
	c.open.join(&l.head)
	if bad := c.judge(l, hadHeader); bad != "" {
		return &Damage{c.opened, false, c.open.at, bad + ", it goes on in " + l.Name.String()}
	}
	if c.open.missing() == 0 {
		c.finish()
	}
	return nil
}

// fits compares what is missing of a record with what the segment has of one.
func (c *Chain) fits(l *Link) string {
	o := &c.open
	switch {
	case o.size == 0 && (l.head.size > 0 || l.overwrites):
		return fmt.Sprintf("it goes on with a record, but %s ends with a whole one", c.before.Name)
	case o.size == 0:
	case l.head.size == 0 && !l.overwrites:
		return fmt.Sprintf("it does not go on with the record at %s, of which %d bytes are missing", o.at, o.missing())
	case l.head.size > 0 && l.head.size != o.missing():
		return fmt.Sprintf("it has %d bytes of the record at %s, of which %d are missing", l.head.size, o.at, o.missing())
	case l.overwrites && o.at != 0 && l.overwritten != o.at:
		return fmt.Sprintf("it takes the place of the record at %s, but that at %s is unfinished", l.overwritten, o.at)
	}
	return ""
}

// judge says what is wrong with the record that crosses the border.
func (c *Chain) judge(l *Link, hadHeader bool) string {
	o := &c.open
	if o.at == 0 || o.got < recordHeader {
		return ""
	}
	r := o.record()
	switch {
	case !hadHeader && r.unknown(l.Header.Major()) != "":
		return r.unknown(l.Header.Major())
	case !hadHeader && c.prev != 0 && r.Prev != c.prev:
		return linkFault(r.Prev, c.prev)
	case o.missing() > 0:
	case !o.intact():
		return badCRC
	case l.Name.Kind == Segment && r.is(logSwitch) != l.switched:
		return "only a switch of segments ends the log"
	}
	return ""
}

// finish takes the record that crossed the border for whole. If the chain began
// in the midst of it, it is not known where it begins.
func (c *Chain) finish() {
	c.prev = c.open.at
	if c.open.at != 0 {
		c.tell(c.open.record(), c.open.kept())
	}
	c.open = run{}
}

package wal

import "fmt"

// A Walk reads a segment from its first byte to its last and checks every page
// header and every record that lies in it: lengths, the link of each record to
// the one before it, and CRCs, as the server does when it recovers
// (xlogreader.c: XLogDecodeNextRecord). The segment is written to it, in pieces
// of any size, and End says what has to be compared with its neighbours, see
// [Chain]. It holds no more than a page.
//
// A whole segment must be full of records or end with a switch. What follows a
// switch is not looked at: the server writes zeros there, but after a crash it
// may be what is left of an older file, and nobody ever reads it. A partial
// segment ends where its records do; damage in it looks like the end.
//
// Damage that even the server could not see is not seen either: in the bit of
// each page that tells of backups, and in a record that a crash left unfinished.
type Walk struct {
	Listener

	link  Link
	err   error
	major int
	block int    // size of a page, 0 before the first header
	piece []byte // the beginning of the next page
	at    LSN    // of the page
	over  bool   // nothing that follows is part of the log

	prev    LSN // where the last whole record begins
	end     LSN // and where it ends
	run     *run
	own     run
	torn    bool // the next record has to name one that was left unfinished
	tornRun LSN  // which, 0 if it began in an earlier segment
}

// NewWalk begins to read a segment or a partial segment.
func NewWalk(n Name) *Walk { return &Walk{link: Link{Name: n}} }

// Write takes what follows of the segment. Errors wrap ErrRecord and are a
// *Damage, or, of the first header, wrap ErrHeader or ErrMismatch. They name the
// segment.
func (w *Walk) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 && w.err == nil {
		n := w.pieceSize()
		if w.block == 0 || len(w.piece) > 0 || len(p) < n {
			n = min(len(p), n-len(w.piece))
			w.piece = append(w.piece, p[:n]...)
			w.err = w.takePiece()
		} else {
			w.err = w.takePage(p[:n])
		}
		p = p[n:]
	}
	return total - len(p), w.err
}

// pieceSize is how much has to be there before it can be read.
func (w *Walk) pieceSize() int {
	if w.block == 0 {
		return HeaderSize
	}
	return w.block
}

func (w *Walk) takePiece() error {
	switch {
	case len(w.piece) < w.pieceSize():
		return nil
	case w.block == 0:
		return w.begin()
	}
	b := w.piece
	w.piece = b[:0]
	return w.takePage(b)
}

// begin reads the first header.
func (w *Walk) begin() error {
	h, err := ParseHeader(w.piece)
	if err == nil {
		err = h.Check(w.link.Name)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", w.link.Name, err)
	}
	w.link.Header, w.link.tli = h, h.Timeline
	w.link.End = h.end()
	w.at, w.end = h.PageAddr, h.PageAddr
	w.major, w.block = h.Major(), int(h.BlockSize)
	w.piece = append(make([]byte, 0, w.block), w.piece...)
	return nil
}

// end is the end of the segment.
func (h Header) end() LSN { return h.PageAddr + LSN(h.SegmentSize) }

// End says what was read. It is an error if the segment is too short.
func (w *Walk) End() (Link, error) {
	if w.err == nil {
		w.err = w.short()
	}
	if w.err != nil {
		return Link{}, w.err
	}
	if w.run == &w.own {
		w.link.tail, w.link.Open = w.own, w.own.at
	}
	return w.link, nil
}

func (w *Walk) short() error {
	if w.block == 0 {
		return fmt.Errorf("%s: %w: %d bytes, not the %d of a header", w.link.Name, ErrHeader, len(w.piece), HeaderSize)
	}
	if missing := w.link.Header.end() - w.at; missing > 0 {
		return w.badPage("the file ends here, %d bytes too early", int(missing)-len(w.piece))
	}
	if len(w.piece) > 0 {
		return w.tooLong()
	}
	return nil
}

func (w *Walk) tooLong() error { return w.badPage("the file goes on beyond the end of the segment") }

func (w *Walk) badPage(format string, args ...any) error {
	return &Damage{w.link.Name, true, w.at, fmt.Sprintf(format, args...)}
}

func (w *Walk) badRecord(at LSN, format string, args ...any) error {
	return &Damage{w.link.Name, false, at, fmt.Sprintf(format, args...)}
}

func (w *Walk) takePage(b []byte) error {
	if w.at == w.link.Header.end() {
		return w.tooLong()
	}
	if !w.over {
		if err := w.readPage(b); err != nil && !w.stops() {
			return err
		}
	}
	w.at += LSN(len(b))
	return nil
}

// stops takes what cannot be read for the end of a partial segment.
func (w *Walk) stops() bool {
	if w.link.Name.Kind != Partial {
		return false
	}
	w.over, w.run, w.link.End = true, nil, w.end
	return true
}

func (w *Walk) readPage(b []byte) error {
	pos, err := w.turnPage(b)
	if err == nil && w.run != nil {
		pos, err = w.goOn(b, pos)
	}
	for err == nil && pos < len(b) && !w.over {
		pos, err = w.readRecord(b, pos)
	}
	return err
}

// turnPage checks the header of a page, and returns its length.
func (w *Walk) turnPage(b []byte) (int, error) {
	p, bad := parsePage(b, w.link.Header, w.at)
	if bad == "" {
		bad = w.follows(p)
	}
	if bad != "" {
		return 0, w.badPage("%s", bad)
	}
	w.link.tli, w.link.Pages = p.tli, w.at+LSN(len(b))
	if w.link.Turned == 0 && p.tli == w.link.Name.Timeline {
		w.link.Turned = w.at
	}
	if w.at == w.link.Header.PageAddr {
		return HeaderSize, nil
	}
	return pageHeader, nil
}

// follows says why a page cannot follow what was read so far.
func (w *Walk) follows(p page) string {
	switch {
	case p.tli < w.link.tli || p.tli > w.link.Name.Timeline:
		return fmt.Sprintf("timeline %d after %d, in a segment of %d", p.tli, w.link.tli, w.link.Name.Timeline)
	case w.at == w.link.Header.PageAddr:
		w.beginHead(p)
	case p.overwrites():
		return w.tear()
	case w.run == nil && p.continues():
		return "it goes on with a record, but there is none that is unfinished"
	case w.run != nil && p.rest != w.run.missing():
		return fmt.Sprintf("it has %d bytes of a record of which %d are missing", p.rest, w.run.missing())
	}
	return ""
}

// beginHead minds what the segment before this one may have left unfinished.
func (w *Walk) beginHead(p page) {
	w.torn = p.overwrites()
	w.link.overwrites = w.torn
	if p.continues() {
		w.link.head = run{size: p.rest, skip: leadSize}
		w.run = &w.link.head
	}
}

// tear forgets an unfinished record. A server that finds one at the end of the
// log when it starts leaves it as it is, begins the next page, and says so in a
// record (xlog.c: CreateOverwriteContrecordRecord).
func (w *Walk) tear() string {
	if w.run == nil {
		return "it takes the place of a record's rest, but there is no record that is unfinished"
	}
	w.link.overwrites = w.link.overwrites || w.run == &w.link.head
	w.torn, w.tornRun, w.run = true, w.run.at, nil
	return ""
}

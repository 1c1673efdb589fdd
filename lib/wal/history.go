package wal

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrHistory is wrapped by the error of a timeline history that is damaged.
var ErrHistory = errors.New("wal: bad timeline history")

// Switch is the place where a line of history left one of its timelines for the
// next.
type Switch struct {
	Parent Timeline
	At     LSN    // the first byte that is no longer the parent's
	Reason string // for people, in any encoding; may be empty
}

// History is the line of ancestors of a timeline, the oldest first. That of
// timeline 1 is empty.
type History []Switch

// ParseHistory reads the history file of timeline tli:
//
//	1	0/9000110	no recovery target specified
//
// One line for each ancestor, timelines increasing and lower than tli; blank
// lines and lines that begin with # do not count (timeline.c:
// readTimeLineHistory). Beyond the server's own checks it refuses a file that is
// empty or whose last line has no line feed: the server writes neither, and a
// cut switch point would send recovery down the wrong branch. Errors wrap
// ErrHistory.
func ParseHistory(tli Timeline, b []byte) (History, error) {
	if len(b) > 0 && !bytes.HasSuffix(b, []byte("\n")) {
		return nil, fmt.Errorf("%w of timeline %d: cut off: the last line has no end", ErrHistory, uint32(tli))
	}
	var h History
	for i, line := range strings.Split(string(b), "\n") {
		line = strings.TrimLeft(line, " \t\r\v\f")
		if line == "" || line[0] == '#' {
			continue
		}
		s, err := parseSwitch(line)
		if err == nil {
			err = h.follows(s.Parent, tli)
		}
		if err != nil {
			return nil, fmt.Errorf("%w of timeline %d, line %d: %v", ErrHistory, uint32(tli), i+1, err)
		}
		h = append(h, s)
	}
	if len(h) == 0 {
		return nil, fmt.Errorf("%w of timeline %d: names no ancestor", ErrHistory, uint32(tli))
	}
	return h, nil
}

// parseSwitch reads "timeline, blanks, LSN, blanks, reason".
func parseSwitch(line string) (Switch, error) {
	number, rest := cutBlank(line)
	place, reason := cutBlank(rest)
	tli, err := strconv.ParseUint(number, 10, 32)
	if err != nil || tli == 0 {
		return Switch{}, fmt.Errorf("%.40q is not a timeline", number)
	}
	at, err := ParseLSN(place)
	if err != nil {
		return Switch{}, err
	}
	return Switch{Parent: Timeline(tli), At: at, Reason: reason}, nil
}

// cutBlank splits s at its first run of blanks.
func cutBlank(s string) (field, rest string) {
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimLeft(s[i:], " \t")
}

// follows says whether parent may be the next timeline in h.
func (h History) follows(parent, tli Timeline) error {
	if len(h) > 0 && parent <= h[len(h)-1].Parent {
		return fmt.Errorf("timeline %d after timeline %d", uint32(parent), uint32(h[len(h)-1].Parent))
	}
	if parent >= tli {
		return fmt.Errorf("timeline %d cannot be an ancestor", uint32(parent))
	}
	return nil
}

// SwitchFrom says where the line leaves an ancestor: of the ancestor's log only
// what lies before that place belongs to the line. It is false for a timeline
// that is no ancestor.
//
// The place may come before the ancestor's own entry. A recovery whose target
// lies before the beginning of the timeline it followed still names that
// timeline as its parent, so a later entry can have a lower LSN, and the part of
// the older ancestor beyond it is not of this line (timeline.c:
// tliOfPointInHistory looks from the newest to the oldest, too).
func (h History) SwitchFrom(parent Timeline) (LSN, bool) {
	for i, s := range h {
		if s.Parent != parent {
			continue
		}
		at := s.At
		for _, later := range h[i+1:] {
			at = min(at, later.At)
		}
		return at, true
	}
	return 0, false
}

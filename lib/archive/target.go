package archive

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pgpipes/lib/wal"
)

// A Target is where a recovery shall end. Kind is latest, immediate, time, lsn,
// xid or name; Time and LSN are set for theirs. Timeline 0 is the newest.
type Target struct {
	Kind     string
	Value    string
	Time     time.Time
	LSN      wal.LSN
	Timeline wal.Timeline
}

// maxRestorePoint is the size of a restore point's name with its end mark
// (xlog_internal.h: MAXFNAMELEN).
const maxRestorePoint = 64

// timeLayouts are the forms in which people and PostgreSQL write times, all of
// them with an offset: which zone the server would take for granted is not known
// here, and names of zones mean different things to different people.
var timeLayouts = []string{
	"2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999Z0700", "2006-01-02 15:04:05.999999999Z07",
}

// ParseTarget reads KIND or KIND=VALUE.
func ParseTarget(text string) (Target, error) {
	kind, value, valued := strings.Cut(text, "=")
	t := Target{Kind: kind, Value: value}
	var err error
	switch kind {
	case "latest", "immediate":
		if valued {
			err = fmt.Errorf("recovery target %s takes no value", kind)
		}
		return t, err
	case "time":
		t.Time, err = parseTime(value)
	case "lsn":
		t.LSN, err = wal.ParseLSN(value)
	case "xid":
		err = checkTransaction(value)
	case "name":
		if len(value) >= maxRestorePoint {
			err = fmt.Errorf("recovery target name: longer than a restore point's name can be")
		}
	default:
		return t, fmt.Errorf("recovery target %q: not latest, immediate, time=, lsn=, xid= or name=", text)
	}
	if err == nil && value == "" {
		err = fmt.Errorf("recovery target %s needs a value", kind)
	}
	return t, err
}

// firstTransaction is the least id that a transaction has (transam.h:
// FirstNormalTransactionId).
const firstTransaction = 3

// checkTransaction takes ids with their epoch, too, which the server passes over, and
// none that begins with a zero, which the server would take for octal.
func checkTransaction(text string) error {
	if n, err := strconv.ParseUint(text, 10, 64); err != nil || uint32(n) < firstTransaction || text[0] == '0' {
		return fmt.Errorf("recovery target xid %q: no transaction's id, which are numbers from %d on", text, firstTransaction)
	}
	return nil
}

func parseTime(text string) (time.Time, error) {
	plain, utc := strings.CutSuffix(text, " UTC")
	plain = strings.Replace(plain, "T", " ", 1)
	if date, zone, found := strings.Cut(plain, " "); found {
		plain = date + " " + strings.ReplaceAll(zone, " ", "")
	}
	if utc {
		plain += "Z"
	}
	for _, layout := range timeLayouts {
		if at, err := time.Parse(layout, plain); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("recovery target time %q: not a time with an offset, such as 2026-11-22 10:15:00+00", text)
}

// Reach says why a backup cannot be recovered to a target, nil if it can as far
// as the repository shows. A transaction or a restore point may lie before the
// backup all the same; only recovery can tell.
func (c Coverage) Reach(b Backup, t Target) error {
	h := b.Header
	if b.Err != nil {
		return b.Err
	}
	if !b.Complete {
		return fmt.Errorf("%s: not complete", b.Label)
	}
	if b.Lost != nil {
		return fmt.Errorf("%s: %w", b.Label, b.Lost)
	}
	if missing := c.MissingFor(h); missing != "" {
		return fmt.Errorf("%s: %s is missing, without which it cannot be recovered at all%s", b.Label, missing, c.Why(missing))
	}
	if lost := c.lostAbove(h.StartTimeline); lost != "" {
		return fmt.Errorf("%s: %s is missing, and a server asks for that of every timeline up to the newest", b.Label, lost)
	}
	if t.Kind == "immediate" && t.Timeline == 0 { // no need to follow another one
		return nil
	}
	ended := b.Ended()
	if t.Kind == "time" && (ended.IsZero() || !t.Time.After(ended)) {
		return fmt.Errorf("%s: it ended at %s, after the target", b.Label, ended.UTC().Format(time.RFC3339))
	}
	if t.Kind == "lsn" && t.LSN < h.StopLSN {
		return fmt.Errorf("%s: it ended at %s, after the target", b.Label, h.StopLSN)
	}
	return c.reachTimeline(b, t)
}

// reachTimeline looks at the way from the backup to the end, or to an LSN, on
// the target's timeline.
func (c Coverage) reachTimeline(b Backup, t Target) error {
	to := t.timeline(c)
	h := b.Header
	if err := c.leads(b, to); err != nil || t.Kind == "immediate" {
		return err
	}
	last, found := c.end(to)
	switch {
	case t.Kind == "lsn":
		last = c.Size.LastNumber(t.LSN)
	case t.Kind == "time": // which segment holds it only recovery can tell
		return nil
	case !found && to == h.StopTimeline:
		return nil
	case !found: // nothing archived since the switch: recovery ends with the segment before
		at, _ := c.switchTo(to)
		if last = c.Size.Number(at); !c.leadsPast(to, last) {
			last--
		}
	}
	if missing := c.missingPath(h.StartTimeline, c.Size.Number(h.StartLSN), to, last); missing != "" {
		return fmt.Errorf("%s: %s is missing on the way%s", b.Label, missing, c.Why(missing))
	}
	return nil
}

// leads says why a timeline does not go on from where a backup ended, nil if it
// does.
func (c Coverage) leads(b Backup, to wal.Timeline) error {
	h := b.Header
	if to == h.StopTimeline {
		return nil
	}
	if missing := c.missingHistory(to); missing != "" {
		return fmt.Errorf("%s: %s is missing", b.Label, missing)
	}
	at, descends := c.Histories[to].SwitchFrom(h.StopTimeline)
	if !descends {
		return fmt.Errorf("%s: timeline %d does not descend from its timeline %d", b.Label, uint32(to), uint32(h.StopTimeline))
	}
	if h.StopLSN > at {
		return fmt.Errorf("%s: it ended at %s, timeline %d branched off before, at %s", b.Label, h.StopLSN, uint32(to), at)
	}
	if wrong := c.misled(to); wrong != "" {
		return fmt.Errorf("%s: %s", b.Label, wrong)
	}
	return nil
}

// leadsPast reports whether an ancestor's copy of the segment of the switch to a
// timeline is stored: without the timeline's own wal-get stops a server there,
// see proveBranchEnd.
func (c Coverage) leadsPast(tli wal.Timeline, number uint64) bool {
	return slices.ContainsFunc(c.ancestry(tli), func(s wal.Switch) bool {
		_, missing := c.missingIn(s.Parent, number, number)
		return !missing
	})
}

// Best puts the backups that reach a target in order, the one that needs the
// least WAL first, and says of the others why they do not.
func (c Coverage) Best(all []Backup, t Target) (can []Backup, cannot []error) {
	for _, b := range all {
		if err := c.Reach(b, t); err != nil {
			cannot = append(cannot, err)
			continue
		}
		can = append(can, b)
	}
	slices.SortStableFunc(can, func(a, b Backup) int { return CompareEnds(b, a) })
	return can, cannot
}

package retain

import (
	"fmt"
	"time"
)

// Policy is what its owner wants. A backup that any rule keeps is kept. Without
// a rule all are.
type Policy struct {
	// KeepLast is how many of the newest complete backups to keep. Pinned ones
	// count where they stand in that order. 0 is no rule, here and below.
	KeepLast int
	// KeepDaily and the others are for how many days, ISO weeks, months and
	// years, by UTC, to keep the newest backup of each. Days without one do not
	// count.
	KeepDaily, KeepWeekly, KeepMonthly, KeepYearly int
	// KeepWithin keeps the backups that ended within that time, and the newest
	// one before: without that the beginning of the time could not be reached. If
	// the newest timeline cannot be reached from it, one from which it can stays, too.
	KeepWithin time.Duration
	// KeepTags keeps the backups that carry one of these tags.
	KeepTags []string
	// KeepMin is how many complete full backups stay at least, whatever the
	// rules say. It is no rule itself.
	KeepMin int
	// WAL says how far back a recovery to any moment shall be possible.
	WAL WALPolicy
	// Abandoned is how long nothing was stored of an incomplete backup that is
	// taken for one that nobody is writing any more. It is dropped if a complete
	// backup began after it. 0 is never.
	Abandoned time.Duration
	// Abandon are the labels of backups that nobody is writing any more, as
	// somebody knows: of these the incomplete ones are dropped, whatever their
	// age. It is no rule for others.
	Abandon []string
}

// WALPolicy is about WAL apart from backups. The zero value keeps all WAL from
// the oldest kept backup on.
type WALPolicy struct {
	// Limited keeps the WAL from the newest backup on that ended before Within,
	// without a hole, and that from the newest such from which the newest timeline
	// can be reached. Older backups keep what they need to be restored to their
	// own end, and nothing between them.
	Limited bool
	Within  time.Duration
}

// String is the policy as it is given to expire.
func (w WALPolicy) String() string {
	switch {
	case !w.Limited:
		return "all"
	case w.Within == 0:
		return "backup"
	}
	return span(w.Within)
}

// Rules reports whether any rule is in force: what Abandon says is none.
func (p Policy) Rules() bool { return p.hasRule() || p.WAL.Limited }

// hasRule reports whether complete backups may go at all.
func (p Policy) hasRule() bool {
	return p.KeepLast > 0 || p.KeepDaily > 0 || p.KeepWeekly > 0 || p.KeepMonthly > 0 || p.KeepYearly > 0 ||
		p.KeepWithin > 0 || len(p.KeepTags) > 0
}

// A calendar is a rule that keeps one backup of each of the newest periods.
type calendar struct {
	name   string
	count  int
	period func(time.Time) string
}

func (p Policy) calendars() []calendar {
	return []calendar{
		{"day", p.KeepDaily, func(t time.Time) string { return t.Format("2006-01-02") }},
		{"week", p.KeepWeekly, func(t time.Time) string {
			year, week := t.ISOWeek()
			return fmt.Sprintf("%d-W%02d", year, week)
		}},
		{"month", p.KeepMonthly, func(t time.Time) string { return t.Format("2006-01") }},
		{"year", p.KeepYearly, func(t time.Time) string { return t.Format("2006") }},
	}
}

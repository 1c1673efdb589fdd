package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
)

// A condition is all that status says of a repository at one time.
type condition struct {
	now           time.Time
	good          []archive.Backup // that can be recovered, in the order of their ends
	bad           []badBackup
	dropped       []archive.Gap // of which something is still missing
	verify, drill trial
	survey
}

// A badBackup is complete and cannot be recovered.
type badBackup struct {
	archive.Backup
	why      string
	accepted bool // what it lacks is in a hole that somebody knows of
}

func look(ctx context.Context, r *archive.Repo, now time.Time) (condition, error) {
	c := condition{now: now}
	var err error
	if c.survey, err = takeSurvey(ctx, r, now); err != nil {
		return c, err
	}
	c.sort()
	if c.dropped, err = r.OpenGaps(ctx, c.coverage); err != nil {
		return c, err
	}
	c.dropped = slices.DeleteFunc(c.dropped, func(g archive.Gap) bool {
		return slices.ContainsFunc(c.coverage.Accepted, func(a archive.Accepted) bool { return a.Covers(g.Span) })
	})
	if c.verify, err = verifications(ctx, r); err != nil {
		return c, err
	}
	c.drill, err = drills(ctx, r)
	return c, err
}

// sort tells good backups from bad ones.
func (c *condition) sort() {
	for _, b := range c.backups {
		if !b.Complete {
			continue
		}
		bad := badBackup{Backup: b}
		switch missing := c.coverage.MissingFor(b.Header); {
		case b.Err != nil:
			bad.why = b.Err.Error()
		case b.Lost != nil:
			bad.why = b.Lost.Error()
		case missing != "":
			bad.why, bad.accepted = missing+" is missing", c.coverage.IsAccepted(missing)
		default:
			c.good = append(c.good, b)
			continue
		}
		c.bad = append(c.bad, bad)
	}
	slices.SortStableFunc(c.good, func(a, b archive.Backup) int { return ended(a).Compare(ended(b)) })
}

// ended is when a complete backup ended, as far as is known.
func ended(b archive.Backup) time.Time {
	if b.Header.StopTime.IsZero() { // pg_basebackup does not tell
		return b.Header.StartTime
	}
	return b.Header.StopTime
}

// findings are what status judges, in the order in which it tells.
func (c condition) findings() []finding {
	return []finding{
		c.newestBackup(), c.newestWAL(), c.holesFound(), c.droppedFound(), c.badFound(), c.interruptedFound(),
		c.verify.finding(c.now, statusOptions.VerifyAge), c.drill.finding(c.now, statusOptions.DrillAge),
	}
}

func (c condition) newestBackup() finding {
	count := fmt.Sprintf("backups=%d", len(c.good))
	if len(c.good) == 0 {
		return finding{cli.Critical, "no backup", []string{"there is no backup that can be recovered"}, []string{count}}
	}
	b := c.good[len(c.good)-1]
	age := since(c.now, ended(b))
	text := fmt.Sprintf("newest backup %s old (%s)", cli.Duration(age), b.Label)
	f := finding{severity: statusOptions.BackupAge.judge(age), text: text, data: []string{statusOptions.BackupAge.data("backup_age", age), count}}
	return f.detailed(text)
}

func (c condition) newestWAL() finding {
	limits := statusOptions.WALAge
	newest := c.newest()
	if newest.IsZero() {
		f := finding{severity: limits.worst(), text: "no WAL"}
		return f.detailed("there is no WAL")
	}
	age := since(c.now, newest)
	text := fmt.Sprintf("newest WAL %s old", cli.Duration(age))
	f := finding{severity: limits.judge(age), text: text, data: []string{limits.data("wal_age", age)}}
	return f.detailed(text)
}

// detailed says a line about what is not well.
func (f finding) detailed(line string) finding {
	if f.severity > cli.OK {
		f.details = append(f.details, line)
	}
	return f
}

func (c condition) holesFound() finding {
	f := finding{text: "no holes", data: []string{fmt.Sprintf("holes=%d;;0", len(c.missing))}}
	if len(c.missing) == 0 {
		return f
	}
	f.severity, f.text = cli.Critical, plural(len(c.missing), "hole")
	for _, w := range c.missing {
		f.details = append(f.details, "hole: "+c.coverage.RunName(w))
	}
	return f
}

func (c condition) droppedFound() finding {
	f := finding{data: []string{fmt.Sprintf("dropped=%d;;0", len(c.dropped))}}
	if len(c.dropped) == 0 {
		return f
	}
	f.severity, f.text = cli.Critical, "WAL was dropped"
	for _, g := range c.dropped {
		f.details = append(f.details, fmt.Sprintf("%s %s", g, g.Story()))
	}
	return f
}

func (c condition) badFound() finding {
	var f finding
	known := 0
	for _, b := range c.bad {
		if b.accepted {
			known++
			continue
		}
		f.severity = cli.Critical
		f.details = append(f.details, fmt.Sprintf("backup %s cannot be recovered: %s", b.Label, b.why))
	}
	n := len(c.bad) - known
	f.data = []string{fmt.Sprintf("damaged=%d;;0", n)}
	if n > 0 {
		f.text = plural(n, "damaged backup")
	}
	return f
}

func (c condition) interruptedFound() finding {
	f := finding{data: []string{fmt.Sprintf("interrupted=%d;0", len(c.interrupted))}}
	for _, b := range c.interrupted {
		f.severity = cli.Warning
		f.details = append(f.details, fmt.Sprintf("backup %s was interrupted", b.Label))
	}
	if len(c.interrupted) > 0 {
		f.text = plural(len(c.interrupted), "interrupted backup")
	}
	return f
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

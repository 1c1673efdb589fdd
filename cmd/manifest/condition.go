package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
	"pgpipes/lib/wal"
)

// A condition is a survey as status judges it.
type condition struct {
	archive.Survey
	repo          *archive.Repo
	good          []archive.Backup // that can be recovered, in the order of their ends
	bad           []badBackup
	unread        []archive.Backup
	running       []archive.Backup
	interrupted   []archive.Backup
	verify, drill trial
}

// A badBackup cannot be recovered.
type badBackup struct {
	label, why string
	known      bool // what it lacks is in a hole that has been accepted
}

func look(ctx context.Context, r *archive.Repo, now time.Time) (condition, error) {
	s, err := r.Survey(ctx, now)
	if err != nil {
		return condition{}, err
	}
	c := condition{Survey: s, repo: r}
	for _, b := range s.Backups {
		c.sort(b)
	}
	slices.SortStableFunc(c.good, archive.CompareEnds)
	if c.verify, err = verifications(ctx, r); err == nil {
		c.drill, err = drills(ctx, r)
	}
	return c, err
}

// sort puts a backup where it belongs.
func (c *condition) sort(b archive.Backup) {
	switch c.State(b) {
	case archive.BackupInProgress:
		c.running = append(c.running, b)
	case archive.BackupInterrupted:
		c.interrupted = append(c.interrupted, b)
	case archive.BackupUnread:
		c.unread = append(c.unread, b)
	case archive.BackupDamaged:
		why := b.Err
		if why == nil {
			why = b.Lost
		}
		c.bad = append(c.bad, badBackup{label: b.Label, why: why.Error()})
	default:
		missing := c.Coverage.MissingFor(b.Header)
		if missing == "" {
			c.good = append(c.good, b)
			return
		}
		c.bad = append(c.bad, badBackup{b.Label, missing + " is missing", c.isKnown(missing)})
	}
}

// isKnown reports whether a file is missing in a hole that has been accepted.
func (c *condition) isKnown(missing string) bool {
	n, err := wal.ParseName(missing)
	return err == nil && slices.ContainsFunc(c.Holes, func(h archive.Hole) bool { return h.Holds(n) && !h.Open() })
}

// holes are those in a state.
func (c *condition) holes(state string) []archive.Hole {
	return slices.DeleteFunc(slices.Clone(c.Holes), func(h archive.Hole) bool { return h.State != state })
}

// findings are what status judges, in the order in which it tells.
func (c *condition) findings() []finding {
	return []finding{
		c.newestBackup(), c.newestWAL(), c.missing(), c.dropped(), c.lost(), c.damaged(), c.unreadable(), c.unfinished(), c.beside(),
		c.verify.finding(c.At, statusOptions.VerifyAge), c.drill.finding(c.At, statusOptions.DrillAge),
	}
}

func (c *condition) newestBackup() finding {
	count := fmt.Sprintf("backups=%d", len(c.good))
	if len(c.good) == 0 && len(c.unread) > 0 {
		return finding{data: []string{count}}
	}
	if len(c.good) == 0 {
		return finding{cli.Critical, "no backup", []string{"there is no backup that can be recovered"}, []string{count}}
	}
	b := c.good[len(c.good)-1]
	limits := statusOptions.BackupAge
	if len(c.unread) > 0 { // one of them may be newer
		limits.warning, limits.critical = 0, 0
	}
	if b.Ended().IsZero() {
		f := finding{severity: limits.worst(), text: fmt.Sprintf("newest backup of unknown age (%s)", b.Label), data: []string{count}}
		return f.detailed("no backup says when it ended: how old they are nobody knows")
	}
	age := since(c.At, b.Ended())
	return aged(limits, age, fmt.Sprintf("newest backup %s (%s)", spell(age, "old"), b.Label), limits.data("backup_age", age), count)
}

func (c *condition) newestWAL() finding {
	limits := statusOptions.WALAge
	if c.NewestWAL.At.IsZero() {
		f := finding{severity: limits.worst(), text: "no WAL"}
		return f.detailed("there is no WAL")
	}
	age := since(c.At, c.NewestWAL.At)
	return aged(limits, age, "newest WAL "+spell(age, "old"), limits.data("wal_age", age))
}

// aged is the finding that something is so old.
func aged(l limits, age time.Duration, text string, data ...string) finding {
	f := finding{severity: l.judge(age), text: text, data: data}
	return f.detailed(text)
}

// detailed says a line about what is not well.
func (f finding) detailed(line string) finding {
	if f.severity > cli.OK {
		f.details = append(f.details, line)
	}
	return f
}

// several is the finding that there are things that should not be, each with a
// line about it.
func several(severity cli.Severity, what, name string, lines []string) finding {
	limit := map[cli.Severity]string{cli.Warning: ";0", cli.Critical: ";;0"}[severity]
	f := finding{data: []string{fmt.Sprintf("%s=%d%s", name, len(lines), limit)}}
	if n := len(lines); n > 0 {
		f.severity, f.details, f.text = severity, lines, fmt.Sprintf("%d %s", n, what)
		if n > 1 {
			f.text += "s"
		}
	}
	return f
}

func (c *condition) missing() finding {
	var lines []string
	for _, h := range c.holes(archive.HoleMissing) {
		lines = append(lines, fmt.Sprintf("hole %s, %d missing", h.Span, h.Segments))
	}
	f := several(cli.Critical, "hole", "holes", lines)
	if len(lines) == 0 {
		f.text = "no holes"
	}
	return f
}

func (c *condition) dropped() finding {
	var lines []string
	for _, h := range c.holes(archive.HoleDropped) {
		lines = append(lines, fmt.Sprintf("hole %s, %d dropped by wal-push --queue-max: %s", h.Span, h.Segments, h.Reason))
	}
	return several(cli.Critical, "dropped run", "dropped", lines)
}

func (c *condition) lost() finding {
	var lines []string
	for _, name := range c.Histories {
		lines = append(lines, name+" is missing: recovery cannot find its timeline")
	}
	return several(cli.Critical, "lost timeline", "lost", lines)
}

func (c *condition) damaged() finding {
	var lines []string
	for _, b := range c.bad {
		if !b.known {
			lines = append(lines, fmt.Sprintf("backup %s cannot be recovered: %s", b.label, b.why))
		}
	}
	return several(cli.Critical, "damaged backup", "damaged", lines)
}

// unreadable are those of which status cannot tell whether they are good.
func (c *condition) unreadable() finding {
	var lines []string
	for _, b := range c.unread {
		lines = append(lines, fmt.Sprintf("backup %s cannot be read: %v", b.Label, b.Unread()))
	}
	return several(cli.Unknown, "unreadable backup", "unreadable", lines)
}

func (c *condition) unfinished() finding {
	var lines []string
	for _, b := range c.interrupted {
		lines = append(lines, fmt.Sprintf("backup %s was interrupted", b.Label))
	}
	return several(cli.Warning, "interrupted backup", "interrupted", lines)
}

// beside is that the newest backup is of no use to a restore without a target. That a
// history is lost is told by itself.
func (c *condition) beside() finding {
	_, why := c.Beside()
	if why == nil || len(c.Histories) > 0 {
		return finding{}
	}
	f := finding{severity: cli.Warning, text: "newest backup beside the newest timeline"}
	return f.detailed(fmt.Sprintf("%v: a restore without --timeline begins from an older one", why))
}

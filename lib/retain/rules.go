package retain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Verdict is what one rule says of a backup.
type Verdict struct {
	Keep   bool
	Why    string
	Silent bool // of no interest unless it keeps
}

// judgement is what all rules say of all backups.
type judgement struct {
	policy   Policy
	now      time.Time
	complete []Backup // the newest first
	rank     map[string]int
	onLine   string            // see reaching
	newest   int               // the timeline that this is about
	calendar map[string]string // label and rule to the period of which it is the newest
	edge     string            // label of the newest before KeepWithin
	lineEdge string            // and of the newest such from which the newest timeline can be reached
	state    State
}

func judge(s State, p Policy) *judgement {
	j := &judgement{policy: p, now: s.Now, complete: newestFirst(s.Backups), rank: map[string]int{}, calendar: map[string]string{}, state: s}
	for i, b := range j.complete {
		j.rank[b.Label] = i
	}
	j.onLine, j.newest = reaching(s, j.complete), int(newestTimeline(s))
	for _, c := range p.calendars() {
		j.fill(c)
	}
	for _, b := range j.complete {
		if b.StopTime.After(s.Now.Add(-p.KeepWithin)) {
			continue
		}
		j.edge = cmp.Or(j.edge, b.Label)
		if j.lineEdge == "" && b.reaches(newestTimeline(s), s.Histories) {
			j.lineEdge = b.Label
		}
	}
	return j
}

// fill finds the newest backup of each of the newest periods of a rule.
func (j *judgement) fill(c calendar) {
	seen := map[string]bool{}
	for _, b := range j.complete {
		period := c.period(b.StopTime.UTC())
		if len(seen) == c.count || seen[period] {
			continue
		}
		seen[period] = true
		j.calendar[c.name+"\t"+b.Label] = period
	}
}

// verdicts are what the rules say of a backup, those that apply at all, in the
// order in which they are named.
func (j *judgement) verdicts(b Backup) []Verdict {
	switch {
	case !b.Complete && slices.Contains(j.policy.Abandon, b.Label):
		return []Verdict{pinned(b), inUse(b), {Why: "abandoned, as was said"}}
	case !j.policy.hasRule():
		return []Verdict{{Keep: true, Why: NoRule}}
	case !b.Complete:
		return j.ofIncomplete(b)
	}
	all := []Verdict{pinned(b), inUse(b)}
	if n := j.policy.KeepLast; n > 0 {
		if rank := j.rank[b.Label]; rank < n {
			all = append(all, Verdict{Keep: true, Why: fmt.Sprintf("number %d of the last %d", rank+1, n)})
		} else {
			all = append(all, Verdict{Why: fmt.Sprintf("older than the last %d", n)})
		}
	}
	for _, c := range j.policy.calendars() {
		if c.count > 0 {
			all = append(all, j.ofCalendar(b, c))
		}
	}
	if j.policy.KeepWithin > 0 {
		all = append(all, j.ofWithin(b))
	}
	if len(j.policy.KeepTags) > 0 {
		all = append(all, ofTags(b, j.policy.KeepTags))
	}
	return append(all,
		Verdict{b.Label == j.complete[0].Label && len(keeping(all)) == 0, "the newest complete backup", true},
		Verdict{b.Label == j.onLine && len(keeping(all)) == 0, fmt.Sprintf("the newest from which timeline %d can be reached", j.newest), true})
}

func (j *judgement) ofIncomplete(b Backup) []Verdict {
	keep, why := judgeIncomplete(b, j.complete, j.policy, j.now)
	return []Verdict{pinned(b), inUse(b), {Keep: keep, Why: why}}
}

func pinned(b Backup) Verdict { return Verdict{b.Pin != "", "pinned: " + oneLine(b.Pin), true} }

func inUse(b Backup) Verdict { return Verdict{b.InUse != "", b.InUse, true} }

func (j *judgement) ofCalendar(b Backup, c calendar) Verdict {
	if period, newest := j.calendar[c.name+"\t"+b.Label]; newest {
		return Verdict{Keep: true, Why: fmt.Sprintf("the newest of %s %s, of %d", c.name, period, c.count)}
	}
	return Verdict{Why: fmt.Sprintf("not the newest of one of the last %d %ss", c.count, c.name)}
}

func (j *judgement) ofWithin(b Backup) Verdict {
	within := span(j.policy.KeepWithin)
	switch {
	case b.StopTime.After(j.now.Add(-j.policy.KeepWithin)):
		return Verdict{Keep: true, Why: "ended within " + within}
	case b.Label == j.edge:
		return Verdict{Keep: true, Why: "the newest that ended before " + within}
	case b.Label == j.lineEdge:
		return Verdict{Keep: true, Why: fmt.Sprintf("the newest that ended before %s from which timeline %d can be reached", within, j.newest)}
	}
	return Verdict{Why: "ended before " + within}
}

func ofTags(b Backup, tags []string) Verdict {
	for _, tag := range tags {
		if slices.Contains(b.Tags, tag) {
			return Verdict{Keep: true, Why: "tagged " + tag}
		}
	}
	return Verdict{Why: "not tagged " + strings.Join(tags, " or ")}
}

// span is a time as people write it.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// keeping are the verdicts that keep.
func keeping(all []Verdict) []string {
	var why []string
	for _, v := range all {
		if v.Keep {
			why = append(why, v.Why)
		}
	}
	return why
}

// decide makes one decision of the verdicts on a backup.
func (j *judgement) decide(b Backup) Decision {
	all := j.verdicts(b)
	d := Decision{Kind: KindBackup, Name: b.Label}
	if why := keeping(all); len(why) > 0 {
		d.Keep, d.Reason = true, strings.Join(why, "; ")
		return d
	}
	d.Reason = "no rule keeps it"
	if against := speaking(all); len(against) == 1 {
		d.Reason = against[0]
	}
	return d
}

// speaking are the verdicts against a backup of rules that were asked for.
func speaking(all []Verdict) []string {
	var why []string
	for _, v := range all {
		if !v.Keep && !v.Silent {
			why = append(why, v.Why)
		}
	}
	return why
}

// Explain is what every rule says of a backup, and what that comes to.
func Explain(s State, p Policy, label string) (all []Verdict, d Decision, found bool) {
	j := judge(s, p)
	for _, b := range s.Backups {
		if b.Label != label {
			continue
		}
		for _, v := range j.verdicts(b) {
			if v.Keep || !v.Silent {
				all = append(all, v)
			}
		}
		for _, d := range decideBackups(s, p) {
			if d.Name == label {
				return all, d, true
			}
		}
	}
	return nil, Decision{}, false
}

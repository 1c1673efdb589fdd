package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A verdict answers whether the cluster can be recovered: in a headline, in
// sentences, and question by question.
type verdict struct {
	State    State
	Headline string
	Lead     string
	Answers  []answer
}

// An answer is a sentence, and words for one line with the others.
type answer struct {
	Question    string
	State       State
	Text, Short string
}

// The newest moment is worth a doubt when it is so old, or so far in the future:
// then a clock was wrong.
const (
	stale = 24 * time.Hour
	skew  = 5 * time.Minute
)

// judge says no more than is proved: yes needs a drill that went well, a full
// verification that found nothing, and no open holes.
func judge(f Facts) verdict {
	if f.Recovery.Backup == "" {
		why := cmp.Or(clean(f.Recovery.Why), "There is no backup that can be recovered.")
		return verdict{Bad, "No: this cluster cannot be recovered from here", why, []answer{f.verified(), f.measured(), f.whole()}}
	}
	v := verdict{Headline: "Yes: this cluster can be recovered"}
	v.Answers = []answer{f.until(), f.source(), f.measured(), f.verified(), f.whole()}
	var words []string
	for _, a := range v.Answers {
		v.State = max(v.State, min(a.State, Doubtful))
		if a.State == Bad {
			v.Headline = "Perhaps: this cluster may be recovered, but something is wrong"
		}
		if a.Short != "" {
			words = append(words, a.Short)
		}
	}
	if v.State == Doubtful && strings.HasPrefix(v.Headline, "Yes") {
		v.Headline = "Probably: this cluster can be recovered, but not all is proved"
	}
	v.Lead = strings.Join(words, ", ") + "."
	return v
}

func (f Facts) until() answer {
	r := f.Recovery
	a := answer{Question: "To which moment", Short: "Up to " + minute(r.Until)}
	switch {
	case r.Until.IsZero():
		return answer{a.Question, Doubtful, "To one that is not known.", "Up to an unknown moment"}
	case r.Exact:
		a.Text = fmt.Sprintf("%s, %s: the last transaction in the WAL that is stored.", instant(r.Until), ago(f.Made, r.Until))
	default:
		a.Text = fmt.Sprintf("About %s, %s: when the last WAL was stored.", instant(r.Until), ago(f.Made, r.Until))
		a.Short = "Up to about " + minute(r.Until)
	}
	if r.Beyond != "" {
		a.State, a.Text, a.Short = Doubtful, a.Text+" What comes after cannot be reached: "+clean(r.Beyond)+".", a.Short+" and no further"
	}
	if age := f.Made.Sub(r.Until); age > stale || age < -skew {
		a.State = Doubtful
	}
	return a
}

func (f Facts) source() answer {
	r := f.Recovery
	text := fmt.Sprintf("%s, to timeline %d", clean(r.Backup), r.Timeline)
	if r.Size > 0 {
		text += ", " + size(r.Size)
	}
	return answer{"From which backup", Good, text + ".", "from backup " + clean(r.Backup)}
}

// measured is how long the last drill took that went well. If a later one failed
// that is what matters.
func (f Facts) measured() answer {
	a := answer{"How long it takes", Doubtful, "No drill has measured it.", "in a time that was never measured"}
	all := f.drills()
	if i := slices.IndexFunc(all, Drill.Tells); i >= 0 {
		d := all[i]
		a.State, a.Short = Good, fmt.Sprintf("in about %s as measured %s", duration(d.took()), ago(f.Made, d.Began))
		a.Text = fmt.Sprintf("About %s: a drill measured it %s with backup %s, %s.", duration(d.took()), ago(f.Made, d.Began), clean(d.Backup), someSize(d.Size))
	}
	if len(all) > 0 && !all[0].Passed {
		a.State = Bad
		a.Text += fmt.Sprintf(" The last drill, %s, failed.", ago(f.Made, all[0].Began))
		a.Short += ", but the last drill failed"
	}
	return a
}

// verified looks back to the last full verification. One that found something
// since counts, however little it has read.
func (f Facts) verified() answer {
	const question = "Is it verified"
	for _, v := range f.verifications() {
		when := ago(f.Made, v.Began)
		switch {
		case !v.Passed:
			faults := count(v.Findings, "fault", "faults")
			return answer{question, Bad, fmt.Sprintf("No: %s found %s.", when, faults), faults + " found " + when}
		case v.Full:
			return answer{question, Good, fmt.Sprintf("Yes: all that was stored was read %s, without a finding.", when), "verified in full " + when}
		}
	}
	return answer{question, Doubtful, "Never in full.", "never verified in full"}
}

// whole looks for holes, for histories without which a server does not find its
// way, and for backups that are damaged.
func (f Facts) whole() answer {
	a := answer{Question: "Is it complete", Text: "Yes: no hole in the WAL is open, no timeline history is lost, and no backup is damaged."}
	var wrong []string
	if n := counted(f.Holes, Hole.open); n > 0 {
		wrong = append(wrong, count(n, "open hole in the WAL", "open holes in the WAL"))
	}
	if n := len(f.Lost); n > 0 {
		wrong = append(wrong, count(n, "lost timeline history", "lost timeline histories"))
	}
	if n := counted(f.Backups, Backup.damaged); n > 0 {
		wrong = append(wrong, count(n, "backup that cannot be recovered", "backups that cannot be recovered"))
	}
	if n := counted(f.Backups, Backup.unread); n > 0 {
		wrong = append(wrong, count(n, "backup that could not be read", "backups that could not be read"))
	}
	if len(wrong) > 0 {
		a.State, a.Short = Doubtful, strings.Join(wrong, ", ")
		a.Text = "No: " + a.Short + "."
	}
	if len(f.Lost) > 0 {
		a.State = Bad
		a.Text += " A recovering server asks for every history and stops at one that is lost."
	}
	return a
}

func counted[T any](all []T, is func(T) bool) (n int) {
	for _, one := range all {
		if is(one) {
			n++
		}
	}
	return n
}

// inOrder are the backups by their start.
func (f Facts) inOrder() []Backup {
	return slices.SortedStableFunc(slices.Values(f.Backups), func(a, b Backup) int { return a.Start.Compare(b.Start) })
}

// verifications are sorted, the newest first; so are drills.
func (f Facts) verifications() []Verification {
	return slices.SortedStableFunc(slices.Values(f.Verifications), func(a, b Verification) int { return b.Began.Compare(a.Began) })
}

func (f Facts) drills() []Drill {
	return slices.SortedStableFunc(slices.Values(f.Drills), func(a, b Drill) int { return b.Began.Compare(a.Began) })
}

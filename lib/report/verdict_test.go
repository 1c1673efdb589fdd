package report

import (
	"strings"
	"testing"
	"time"
)

// proved is a cluster of which all is proved.
func proved() Facts {
	f := one()
	f.Verifications = []Verification{{Began: before(day), Full: true, Passed: true}}
	f.Drills = []Drill{{Began: before(2 * day), Passed: true, Backup: "20261120T120100Z", Restore: 10 * hour, Recovery: hour}}
	return f
}

func TestVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(f *Facts)
		state    State
		headline string
		words    string
	}{
		"all is proved":  {func(f *Facts) {}, Good, "Yes", "in about 11 h as measured 2 d ago, verified in full 1 d ago"},
		"nothing there":  {func(f *Facts) { *f = empty() }, Bad, "No", "There is no backup that can be recovered"},
		"none is good":   {func(f *Facts) { f.Recovery = Recovery{Why: "x: its WAL is missing"} }, Bad, "No", "x: its WAL is missing"},
		"never verified": {func(f *Facts) { f.Verifications = nil }, Doubtful, "Probably", "never verified in full"},
		"only quickly":   {func(f *Facts) { f.Verifications[0].Full = false }, Doubtful, "Probably", "never verified in full"},
		"never drilled":  {func(f *Facts) { f.Drills = nil }, Doubtful, "Probably", "in a time that was never measured"},
		"an open hole":   {func(f *Facts) { f.Holes = []Hole{{Kind: Missing}} }, Doubtful, "Probably", "1 open hole"},
		"dropped":        {func(f *Facts) { f.Holes = []Hole{{Kind: Dropped}, {Kind: Missing}} }, Doubtful, "Probably", "2 open holes"},
		"an old hole":    {func(f *Facts) { f.Holes = []Hole{{Kind: Accepted}, {Kind: Expired}} }, Good, "Yes", "verified in full"},
		"a lost history": {func(f *Facts) { f.Lost = []string{"00000002.history"} }, Doubtful, "Perhaps", "1 lost timeline history"},
		"a fast clock":   {func(f *Facts) { f.Recovery.Until = before(-time.Hour) }, Doubtful, "Probably", "22 November 2026, 11:15"},
		"a bad backup":   {func(f *Facts) { f.Backups[0].State = Bad }, Doubtful, "Probably", "1 backup that cannot be recovered"},
		"an unread one":  {func(f *Facts) { f.Backups[0].State = Doubtful }, Doubtful, "Probably", "1 backup that could not be read"},
		"old WAL":        {func(f *Facts) { f.Recovery.Until = before(25 * hour) }, Doubtful, "Probably", "21 November 2026, 09:15"},
		"no moment":      {func(f *Facts) { f.Recovery.Until = at("0001-01-01 00:00") }, Doubtful, "Probably", "an unknown moment"},
		"not the end":    {func(f *Facts) { f.Recovery.Beyond = "x is missing" }, Doubtful, "Probably", "and no further"},
		"not exact":      {func(f *Facts) { f.Recovery.Exact = false }, Good, "Yes", "Up to about 22 November"},
		"damage":         {func(f *Facts) { f.Verifications[0].Passed, f.Verifications[0].Findings = false, 3 }, Doubtful, "Perhaps", "3 faults found"},
		"damage later": {func(f *Facts) {
			f.Verifications = append(f.Verifications, Verification{Began: before(hour), Findings: 1})
		}, Doubtful, "Perhaps", "1 fault found 1 h ago"},
		"damage before": {func(f *Facts) {
			f.Verifications = append(f.Verifications, Verification{Began: before(3 * day), Findings: 1})
		}, Good, "Yes", "verified in full"},
		"a failed drill":  {func(f *Facts) { f.Drills = append(f.Drills, Drill{Began: before(hour)}) }, Doubtful, "Perhaps", "as measured 2 d ago, but the last drill failed"},
		"it failed first": {func(f *Facts) { f.Drills = append(f.Drills, Drill{Began: before(9 * day)}) }, Good, "Yes", "as measured 2 d ago"},
	} {
		f := proved()
		c.change(&f)
		v := judge(f)
		lead := strings.ReplaceAll(v.Lead, thin, " ")
		if v.State != c.state || !strings.HasPrefix(v.Headline, c.headline+":") || !strings.Contains(lead, c.words) {
			t.Errorf("%s: %v, %q, %q; want %v, %s, %q", name, v.State, v.Headline, lead, c.state, c.headline, c.words)
		}
	}
}

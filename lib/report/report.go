// Package report makes one page of HTML about a repository, for those who run a
// database and for those who audit them.
//
// # Guarantees
//
// The page is complete in itself: it asks for nothing over a network, runs no
// script, and says so to the browser. It can be parsed as XML. Texts that
// others wrote, such as labels and reasons, are shown as text and nothing else.
// What is not known is said to be unknown, and no state is told by a colour
// alone. The same facts make the same page, which does not depend on the time,
// the zone or the language of where it is made.
package report

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
)

//go:embed page.html style.css
var files embed.FS

var page = template.Must(template.New("").Funcs(template.FuncMap{
	"clean": clean, "size": someSize, "segment": segmentSize, "duration": someDuration, "ratio": ratio, "moment": moment, "instant": instant,
	"grouped": grouped[int64], "segments": func(n uint64) string { return grouped(n) },
	"took":     func(b Backup) string { return someDuration(b.took()) },
	"verified": func(v Verification) string { return someDuration(max(v.Ended.Sub(v.Began), 0)) },
	"open":     Hole.open, "drilled": Drill.took,
}).ParseFS(files, "*"))

// How many lines of a table are shown, and how many of the backups at once.
const (
	MostLines  = 200
	mostAtOnce = 20
)

// A view is what the page shows.
type view struct {
	Facts
	Verdict       verdict
	Picture       *picture
	Charts        []chart
	WALChart      *chart
	Newest, Older []Backup
	OmittedHoles  int
	OmittedLost   int
	Totals        totals
}

// totals are sums for the head of the table.
type totals struct {
	Backups, Full, Incremental, Other int
	Stored                            int64
}

// Write writes the page.
func Write(w io.Writer, f Facts) error {
	v := view{Facts: f, Verdict: judge(f), Picture: drawPicture(f), Charts: backupCharts(f), WALChart: walChart(f), Totals: f.totals()}
	v.Newest = f.inOrder()
	slices.Reverse(v.Newest)
	if len(v.Newest) > mostAtOnce {
		v.Newest, v.Older = v.Newest[:mostAtOnce], v.Newest[mostAtOnce:]
	}
	v.Verifications, v.Drills = f.verifications(), f.drills()
	v.MoreRecords = shorten(&v.Verifications)+shorten(&v.Drills) > 0 || f.MoreRecords
	v.Holes = openFirst(f.Holes)
	v.OmittedHoles, v.OmittedLost = shorten(&v.Holes), shorten(&v.Lost)
	return page.ExecuteTemplate(w, "page.html", v)
}

// shorten leaves no more lines than a page should have, and says how many it has
// left out.
func shorten[T any](all *[]T) int {
	n := max(len(*all)-MostLines, 0)
	*all = (*all)[:len(*all)-n]
	return n
}

func openFirst(all []Hole) []Hole {
	return slices.SortedStableFunc(slices.Values(all), func(a, b Hole) int {
		switch {
		case a.open() == b.open():
			return 0
		case a.open():
			return -1
		}
		return 1
	})
}

func (f Facts) totals() (t totals) {
	for _, b := range f.Backups {
		t.Backups++
		t.Stored += b.Stored
		switch {
		case !b.complete():
			t.Other++
		case b.Type == Incremental:
			t.Incremental++
		default:
			t.Full++
		}
	}
	return t
}

// String is the sentence above the table.
func (t totals) String() string {
	text := fmt.Sprintf("%s, %s stored: %d full, %d incremental", count(t.Backups, "backup", "backups"), size(t.Stored), t.Full, t.Incremental)
	if t.Other > 0 {
		text += fmt.Sprintf(", %d not complete", t.Other)
	}
	return text + ". The newest is first; times are UTC."
}

// Title is that of the page.
func (v view) Title() string {
	return v.Verdict.Headline + " – " + clean(v.Repository.Location)
}

// Identifier is a number of twenty digits, which no one groups.
func (r Repository) Identifier() string { return strconv.FormatUint(r.SystemID, 10) }

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
)

// A listing is how lists are printed: aligned, titled and in units for people,
// in columns for programs, or in JSON.
type listing struct {
	p       *cli.Process
	out     io.Writer
	aligned *tabwriter.Writer // nil if nobody looks
}

func newListing(p *cli.Process) *listing {
	l := &listing{p: p, out: p.Text}
	if p.OutIsTerminal() && !listOptions.JSON {
		l.aligned = tabwriter.NewWriter(p.Text, 0, 0, 2, ' ', 0)
		l.out = l.aligned
	}
	return l
}

func (l *listing) flush() {
	if l.aligned != nil {
		l.aligned.Flush()
	}
}

// gap parts one table from the next.
func (l *listing) gap() {
	if !listOptions.JSON {
		l.flush()
		fmt.Fprintln(l.out)
	}
}

// title heads the columns for people.
func (l *listing) title(columns ...string) {
	if l.aligned != nil {
		fmt.Fprintln(l.out, strings.Join(columns, "\t"))
	}
}

// line prints columns, or in JSON the object.
func (l *listing) line(object any, columns ...any) {
	if listOptions.JSON {
		json.NewEncoder(l.out).Encode(object)
		return
	}
	for i, c := range columns {
		if i > 0 {
			fmt.Fprint(l.out, "\t")
		}
		fmt.Fprint(l.out, c)
	}
	fmt.Fprintln(l.out)
}

// bytes is a size as it is, or in units for people.
func (l *listing) bytes(n int64) any {
	if l.aligned != nil {
		return cli.Bytes(n)
	}
	return n
}

// age is how long ago something was: in seconds, or in units for people.
func (l *listing) age(of time.Duration) any {
	if l.aligned != nil {
		return cli.Duration(of).String() + " ago"
	}
	return int64(of.Seconds())
}

// row is one backup; the names are those of the JSON form.
type row struct {
	Kind     string `json:"kind"`
	Label    string `json:"label"`
	Type     string `json:"type"`
	Parent   string `json:"parent,omitempty"`
	Start    string `json:"start"`
	Stop     string `json:"stop"`
	Timeline uint32 `json:"timeline"`
	StartLSN string `json:"start-lsn"`
	StopLSN  string `json:"stop-lsn"`
	Bytes    int64  `json:"bytes"`
	Stored   int64  `json:"stored"`
	WAL      string `json:"wal"`
	Pin      string `json:"pin,omitempty"`
	State    string `json:"state"`
	err      error
}

func describe(s archive.Survey, b archive.Backup) row {
	h := b.Header
	l := row{Kind: "backup", Label: b.Label, Stored: b.Stored, Pin: oneLine(b.Pin), State: s.State(b), err: cmp.Or(b.Err, b.Lost), Stop: "-", StopLSN: "-", WAL: "-"}
	switch {
	case l.err != nil:
		l.Type, l.Start, l.StartLSN = l.State, "-", "-"
	case !b.Complete:
		l.Type, l.Start, l.StartLSN = "incomplete", dash(b.Start.Time), b.Start.LSN.String()
		l.Timeline = uint32(b.Start.Timeline)
	default:
		l.Type, l.Parent, l.Timeline, l.Bytes = h.Type, h.Parent, uint32(h.StartTimeline), h.Bytes
		l.Start, l.Stop = dash(h.StartTime), dash(h.StopTime)
		l.StartLSN, l.StopLSN = h.StartLSN.String(), h.StopLSN.String()
		l.WAL = describeWAL(s.Coverage, h.WAL, s.Coverage.MissingFor(h))
	}
	return l
}

// describeWAL says what there is of the WAL that a backup needs.
func describeWAL(c archive.Coverage, included bool, missing string) string {
	_, dropped := c.Gap(missing)
	switch {
	case missing != "" && dropped:
		return "dropped " + missing
	case missing != "":
		return "missing " + missing
	case included:
		return "included"
	}
	return "ok"
}

func dash(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return utc(t)
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// backups prints the backups. What could not be read is an error after the list.
func (l *listing) backups(s archive.Survey, all []archive.Backup) (failed error) {
	l.title("LABEL", "TYPE", "START", "STOP", "TIMELINE", "START-LSN", "STOP-LSN", "BYTES", "STORED", "WAL", "PIN", "STATE")
	for _, b := range all {
		r := describe(s, b)
		if r.err != nil {
			l.p.Warnf("%s: %v", r.Label, r.err)
			failed = cli.Failure(fmt.Errorf("%s is damaged, or cannot be read", r.Label))
		}
		l.line(r, r.Label, r.Type, r.Start, r.Stop, r.Timeline, r.StartLSN, r.StopLSN, l.bytes(r.Bytes), l.bytes(r.Stored), r.WAL, cmp.Or(r.Pin, "-"), r.State)
	}
	return failed
}

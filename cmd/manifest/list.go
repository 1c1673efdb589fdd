package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

var listOptions struct {
	JSON     bool   `long:"json" description:"print one JSON object a line"`
	To       string `long:"to" value-name:"TARGET" description:"latest, immediate, time=…, lsn=…, xid=… or name=…"`
	Timeline uint32 `long:"timeline" value-name:"N" description:"the timeline of the target; by default the newest"`
}

func open(ctx context.Context) (*archive.Repo, error) {
	location, err := options.One()
	if err != nil {
		return nil, err
	}
	return cli.OpenRepository(ctx, location)
}

var listCommand = cli.Command{
	Name:    "list",
	Summary: "List the backups of a repository, or those named.",
	Description: `Columns: label, type, start, stop, timeline, start and stop LSN, bytes, stored
bytes, state of the WAL between start and stop (ok, included if the backup holds
it itself, or the first file that is missing, or that wal-push --queue-max has
dropped). A backup without a manifest has the type incomplete; one whose parts,
or those of others that it uses, are not all there, damaged. With --to only those
that can be recovered to the target, the best one first; status 1 if there is
none.`,
	Options: &listOptions, Action: cli.Action{Operands: "[LABEL]…", Max: cli.Many, Run: runList},
}

func runList(ctx context.Context, p *cli.Process, operands []string) error {
	r, err := open(ctx)
	if err != nil {
		return err
	}
	all, err := r.Backups(ctx)
	if err != nil {
		return err
	}
	if all, err = pick(all, operands); err != nil {
		return err
	}
	coverage, err := r.Coverage(ctx)
	if err != nil {
		return err
	}
	if listOptions.To != "" {
		if all, err = choose(p, coverage, all); err != nil {
			return err
		}
	}
	return printRows(p, rows(coverage, all))
}

// pick keeps the backups of these labels; no labels mean all.
func pick(all []archive.Backup, labels []string) ([]archive.Backup, error) {
	if len(labels) == 0 {
		return all, nil
	}
	var picked []archive.Backup
	for _, label := range labels {
		i := slices.IndexFunc(all, func(b archive.Backup) bool { return b.Label == label })
		if i < 0 {
			return nil, fmt.Errorf("backup %s: %w", label, store.ErrNotExist)
		}
		picked = append(picked, all[i])
	}
	return picked, nil
}

// choose keeps the backups that reach the target, and says of the others why not
// if there is none.
func choose(p *cli.Process, c archive.Coverage, all []archive.Backup) ([]archive.Backup, error) {
	target, err := archive.ParseTarget(listOptions.To)
	if err != nil {
		return nil, cli.Mistake(err)
	}
	target.Timeline = wal.Timeline(listOptions.Timeline)
	can, cannot := c.Best(all, target)
	if len(can) > 0 {
		return can, nil
	}
	for _, why := range cannot {
		p.Warnf("%v", why)
	}
	return nil, cli.No(fmt.Errorf("no backup can be recovered to %s", listOptions.To))
}

// row is one line of the list; the names are those of the JSON form.
type row struct {
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
	err      error
}

func rows(c archive.Coverage, all []archive.Backup) []row {
	list := make([]row, len(all))
	for i, b := range all {
		list[i] = describe(c, b)
	}
	return list
}

func describe(c archive.Coverage, b archive.Backup) row {
	h := b.Header
	l := row{Label: b.Label, Stored: b.Stored, Pin: b.Pin, err: cmp.Or(b.Err, b.Lost), Stop: "-", StopLSN: "-", WAL: "-"}
	switch {
	case l.err != nil:
		l.Type, l.Start, l.StartLSN = "damaged", "-", "-"
	case !b.Complete:
		l.Type, l.Start, l.StartLSN = "incomplete", dash(b.Start.Time), b.Start.LSN.String()
		l.Timeline = uint32(b.Start.Timeline)
	default:
		l.Type, l.Parent, l.Timeline, l.Bytes = h.Type, h.Parent, uint32(h.StartTimeline), h.Bytes
		l.Start, l.Stop = dash(h.StartTime), dash(h.StopTime)
		l.StartLSN, l.StopLSN = h.StartLSN.String(), h.StopLSN.String()
		if l.WAL = "ok"; h.WAL {
			l.WAL = "included"
		}
		if missing := c.MissingFor(h); missing != "" {
			l.WAL = "missing " + missing
			if _, dropped := c.Gap(missing); dropped {
				l.WAL = "dropped " + missing
			}
		}
	}
	return l
}

func dash(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return utc(t)
}

var titles = []string{"LABEL", "TYPE", "START", "STOP", "TIMELINE", "START-LSN", "STOP-LSN", "BYTES", "STORED", "WAL"}

// printRows writes the list: aligned and titled for people, in columns for programs.
// What could not be read is an error after the list.
func printRows(p *cli.Process, list []row) error {
	var out io.Writer = p.Text
	if p.OutIsTerminal() && !listOptions.JSON {
		aligned := tabwriter.NewWriter(p.Text, 0, 0, 2, ' ', 0)
		defer aligned.Flush()
		out = aligned
		fmt.Fprintln(out, strings.Join(titles, "\t"))
	}
	var failed error
	for _, l := range list {
		if l.err != nil {
			p.Warnf("%s: %v", l.Label, l.err)
			failed = cli.Failure(fmt.Errorf("%s is damaged, or cannot be read", l.Label))
		}
		if listOptions.JSON {
			if err := json.NewEncoder(out).Encode(l); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%d\t%d\t%s\n",
			l.Label, l.Type, l.Start, l.Stop, l.Timeline, l.StartLSN, l.StopLSN, l.Bytes, l.Stored, l.WAL)
	}
	return failed
}

package main

import (
	"context"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
	"pgpipes/lib/report"
)

var reportOptions struct {
	Now string `long:"now" value-name:"TIME" hidden:"true"`
}

var reportCommand = cli.Command{
	Name:    "report",
	Summary: "Print a page of HTML about a repository: can the cluster be recovered, to what moments, from what.",
	Description: `The page is complete in itself, needs no network and no script, and can be kept,
sent and printed. It shows the moments that can be recovered with all holes, the
backups, their sizes and durations, the WAL over time, what came of verifications
and drills, and says yes only if a drill has gone well and a full verification has
found nothing.

  manifest report -r /backup/pg/main > report.html`,
	Options: &reportOptions, Action: cli.Action{Run: runReport},
}

func runReport(ctx context.Context, p *cli.Process, _ []string) error {
	now := time.Now()
	if reportOptions.Now != "" {
		var err error
		if now, err = time.Parse(time.RFC3339, reportOptions.Now); err != nil {
			return cli.Mistake(err)
		}
	}
	r, err := open(ctx)
	if err != nil {
		return err
	}
	s, err := r.Survey(ctx, now)
	if err != nil {
		return err
	}
	f, err := gather(ctx, r, s)
	if err != nil {
		return err
	}
	if f.WAL, err = tally(ctx, r, now); err != nil {
		return err
	}
	return report.Write(p.Text, f)
}

// tally counts the WAL by the time at which it was stored.
func tally(ctx context.Context, r *archive.Repo, now time.Time) (report.Volume, error) {
	t := report.NewTally(now)
	for info, err := range r.SegmentObjects(ctx) {
		if err != nil {
			return report.Volume{}, err
		}
		t.Add(info.ModTime, info.Size)
	}
	return t.Volume(), nil
}

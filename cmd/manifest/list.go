package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
	"pgpipes/lib/store"
)

var listOptions struct {
	JSON     bool   `long:"json" description:"print one JSON object a line; kind says of what"`
	Backups  bool   `long:"backups" description:"print the backups only"`
	Windows  bool   `long:"windows" description:"print the windows and what is below them only"`
	To       string `long:"to" value-name:"TARGET" description:"latest, immediate, time=…, lsn=…, xid=… or name=…"`
	At       string `long:"at" value-name:"TIME|LSN" description:"can it be recovered to this moment, and from which backup?"`
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
	Summary: "List the backups of a repository, or those named, and to what moments they can be recovered.",
	Description: `Columns: label, type, start, stop, timeline, start and stop LSN, bytes, stored
bytes, state of the WAL between start and stop (ok, included if the backup holds
it itself, or the first file that is missing, or that wal-push --queue-max has
dropped), reason of its pin, state (complete, in-progress, interrupted, damaged,
unreadable). A backup without a manifest has the type incomplete; one whose parts,
or those of others that it uses, are not all there, damaged. Of a manifest only the
header is read: manifest verify --quick reads it to its end.

Then, after an empty line, unless backups were named or chosen, lines of

  window TIMELINE FROM TO FROM-LSN TO-LSN BACKUPS  recovery to any moment in it
  hole NAME SEGMENTS SINCE STATE REASON            missing, dropped, accepted, expired
  lost NAME                                        a history: servers stop at it
  newest-wal NAME TIME AGE                         what was stored last
  newest-backup LABEL TIME AGE                     and when it ended

tab-separated, ages in seconds. In a window everything can be recovered up to
TO, the time of the last transaction, and as a target any time before it and any
LSN up to TO-LSN. With ~ TO is when the last segment was stored, as it cannot be
read, or has no transactions. FROM is - if it is not known.

With --to and --at only backups that can be recovered to the target are printed,
the best one first; status 1 if there is none, with what can be reached instead.
That is proved by the WAL, where recovery stops at the first transaction after a
time: there has to be one. WAL that cannot be read is a failure of --at; --to
warns of it and goes by names.`,
	Options: &listOptions, Action: cli.Action{Operands: "[LABEL]…", Max: cli.Many, Run: runList},
}

func runList(ctx context.Context, p *cli.Process, operands []string) error {
	if err := checkList(operands); err != nil {
		return err
	}
	r, err := open(ctx)
	if err != nil {
		return err
	}
	target := listTarget()
	chosen := len(operands) > 0 || target != ""
	look := r.Survey
	if chosen || listOptions.Backups {
		look = r.Inventory
	}
	survey, err := look(ctx, time.Now())
	if err != nil {
		return err
	}
	all, err := pick(survey.Backups, operands)
	if err != nil {
		return err
	}
	if target != "" {
		if all, err = choose(ctx, p, r, survey, all, target); err != nil {
			return err
		}
	}
	out := newListing(p)
	defer out.flush()
	var failed error
	if !listOptions.Windows {
		failed = out.backups(survey, all)
	}
	if chosen || listOptions.Backups {
		return failed
	}
	if !listOptions.Windows {
		out.gap()
	}
	out.windows(survey)
	return failed
}

func checkList(operands []string) error {
	switch {
	case listOptions.Backups && listOptions.Windows:
		return cli.Usagef("--backups or --windows, not both")
	case listOptions.At != "" && listOptions.To != "":
		return cli.Usagef("--at or --to, not both")
	case listOptions.Windows && (len(operands) > 0 || listOptions.To != "" || listOptions.At != ""):
		return cli.Usagef("--windows are those of the repository, not of chosen backups")
	}
	return nil
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

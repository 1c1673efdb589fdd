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

// listTarget is what --to or --at asks for, as a target of recovery.
func listTarget() string {
	switch _, err := wal.ParseLSN(listOptions.At); {
	case listOptions.At == "":
		return listOptions.To
	case err == nil:
		return "lsn=" + listOptions.At
	}
	return "time=" + listOptions.At
}

// choose keeps the backups that reach the target, and says of the others why not
// if there is none.
func choose(ctx context.Context, p *cli.Process, r *archive.Repo, s archive.Survey, all []archive.Backup, text string) ([]archive.Backup, error) {
	target, err := archive.ParseTarget(text)
	if err != nil {
		return nil, cli.Mistake(err)
	}
	target.Timeline = wal.Timeline(listOptions.Timeline)
	can, cannot, err := reach(ctx, r, s, all, target)
	if err != nil && listOptions.At != "" {
		return nil, err
	}
	if err != nil {
		p.Warnf("not proved, as the WAL cannot be read: %v", err)
	}
	if len(can) > 0 {
		warnBeside(p, s, target)
		return can, nil
	}
	for _, why := range cannot {
		p.Warnf("%v", why)
	}
	hint(ctx, p, r, s, all, target)
	if slices.ContainsFunc(all, func(b archive.Backup) bool { return b.Unread() != nil }) {
		return nil, fmt.Errorf("whether a backup can be recovered to %s is unknown: not all can be read", text)
	}
	return nil, cli.No(fmt.Errorf("no backup can be recovered to %s", text))
}

// warnBeside tells who does not say on which timeline his target is that the newest
// backup is on another one.
func warnBeside(p *cli.Process, s archive.Survey, t archive.Target) {
	if t.Kind == "immediate" || t.Timeline != 0 {
		return
	}
	if b, why := s.Beside(); why != nil {
		p.Warnf("the newest backup is left aside: %v; --timeline %d goes on from it", why, uint32(b.Header.StopTimeline))
	}
}

// reach divides backups into those that reach a target and the reasons why others
// do not. With an error that is not proved.
func reach(ctx context.Context, r *archive.Repo, s archive.Survey, all []archive.Backup, t archive.Target) (can []archive.Backup, cannot []error, err error) {
	can, cannot = s.Coverage.Best(all, t)
	can, why, err := r.Prove(ctx, s.Coverage, can, t)
	return can, append(why, cannot...), err
}

// hint says what can be reached instead of a time or an LSN, or on which other
// timeline.
func hint(ctx context.Context, p *cli.Process, r *archive.Repo, s archive.Survey, all []archive.Backup, t archive.Target) {
	var before, after *archive.Window
	if t.Kind == "time" || t.Kind == "lsn" {
		before, after = r.Nearest(ctx, s.Coverage, all, t)
	}
	if before != nil {
		p.Warnf("hint: recoverable on timeline %d up to LSN %s, and to any time before %s", uint32(before.Timeline), before.ToLSN, instant(before.To))
	}
	if after != nil {
		p.Warnf("hint: recoverable from LSN %s on, and to any time after %s", after.FromLSN, instant(after.From))
	}
	if len(s.Coverage.LostHistories(s.Backups)) > 0 {
		p.Warnf("hint: the history of a timeline is that of a descendant, up to the empty line before the one that begins with its own number: put it back as wal/history/NAME")
	}
	if t.Timeline != 0 {
		return
	}
	newest := s.Coverage.Newest()
	for tli := newest - 1; tli > 0 && newest-tli < 100; tli-- {
		t.Timeline = tli
		if can, _, err := reach(ctx, r, s, all, t); err == nil && len(can) > 0 {
			p.Warnf("hint: there is one with --timeline %d", uint32(tli))
			return
		}
	}
}

// instant is a time to the last digit, which counts when it is a target.
func instant(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339Nano)
}

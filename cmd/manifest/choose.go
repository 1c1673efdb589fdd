package main

import (
	"context"
	"fmt"
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
	can, cannot := s.Coverage.Best(all, target)
	if target.Kind == "time" && len(can) > 0 {
		var why []error
		if can, why, err = r.Prove(ctx, s.Coverage, can, target); err != nil {
			if listOptions.At != "" {
				return nil, err
			}
			p.Warnf("what the WAL says of that time cannot be read: %v", err)
		}
		cannot = append(why, cannot...)
	}
	if len(can) > 0 {
		return can, nil
	}
	for _, why := range cannot {
		p.Warnf("%v", why)
	}
	sayNearest(p, s, target)
	return nil, cli.No(fmt.Errorf("no backup can be recovered to %s", text))
}

// sayNearest names the windows before and after a moment that cannot be reached.
func sayNearest(p *cli.Process, s archive.Survey, t archive.Target) {
	tli := t.Timeline
	if tli == 0 {
		tli = s.Coverage.Newest()
	}
	var before, after *archive.Window
	for i, w := range s.Windows {
		if w.Timeline != tli {
			continue
		}
		early, late := w.To.Before(t.Time), t.Time.Before(w.From)
		if t.Kind == "lsn" {
			early, late = w.ToLSN < t.LSN, t.LSN < w.FromLSN
		}
		if early && (before == nil || before.ToLSN < w.ToLSN) {
			before = &s.Windows[i]
		}
		if late && (after == nil || w.FromLSN < after.FromLSN) {
			after = &s.Windows[i]
		}
	}
	if before != nil {
		p.Warnf("hint: recoverable on timeline %d up to %s, at %s", uint32(tli), instant(before.To), before.ToLSN)
	}
	if after != nil {
		p.Warnf("hint: recoverable on timeline %d from %s on, at %s", uint32(tli), instant(after.From), after.FromLSN)
	}
}

// instant is a time to the last digit, which counts when it is a target.
func instant(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339Nano)
}

package archive

import "context"

// Nearest finds, for a time or an LSN that cannot be reached, what can be reached
// before and after it on the line of its timeline, by way of ancestors too; nil if
// there is nothing.
func (r *Repo) Nearest(ctx context.Context, c Coverage, backups []Backup, t Target) (before, after *Window) {
	runs := c.runs(backups, t)
	for i := range runs {
		w := &runs[i]
		if t.Kind == "lsn" && w.FromLSN < t.LSN || t.Kind == "time" && w.From.Before(t.Time) {
			before = w // the last one
		} else if after == nil {
			after = w
		}
	}
	for _, w := range []*Window{before, after} {
		if w != nil {
			r.measure(ctx, c, w)
		}
	}
	return before, after
}

// runs are the windows on the line of a target's timeline, whole: each ends at a
// missing segment or where the line does, whichever timeline that is on.
func (c Coverage) runs(backups []Backup, t Target) []Window {
	to := t.timeline(c)
	var all []Window
	for _, b := range backups {
		if c.Reach(b, Target{Kind: "immediate", Timeline: to}) != nil {
			continue
		}
		w := Window{Timeline: b.Header.StopTimeline, FromLSN: b.Header.StopLSN, ToLSN: b.Header.StopLSN, From: b.Ended(), Backups: []string{b.Label}}
		if way, _ := c.wayOn(b, to); len(way) > 0 {
			end := way[len(way)-1]
			w.Timeline, w.ToLSN = end.Timeline, max(w.ToLSN, c.Size.Start(end.Last+1))
		}
		all = append(all, w)
	}
	return merged(all)
}

package main

import (
	"context"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/layout"
	"pgpipes/lib/wal"
)

// metrics are the condition as Prometheus wants it.
func (c *condition) metrics(ctx context.Context, repository string) (string, error) {
	m := metrics{repository: repository}
	bytes, err := walBytes(ctx, c.repo)
	m.up(true)
	m.gauge("repository_info", "What the repository is of.", number(1,
		"system_identifier", strconv.FormatUint(c.repo.SystemID, 10), "postgresql", strconv.Itoa(c.repo.Major)))
	c.backupGauges(&m)
	c.walGauges(&m, bytes)
	c.windowGauges(&m)
	c.verify.gauges(&m, c.verifySeconds())
	c.drill.gauges(&m, c.drillSeconds())
	return m.text.String(), err
}

func (m *metrics) up(yes bool) {
	m.gauge("up", "Whether the repository could be read.", truth(yes))
}

func (c *condition) backupGauges(m *metrics) {
	m.gauge("backups", "Base backups, by whether they can be recovered.",
		number(len(c.good), "state", "good"), number(len(c.bad), "state", "bad"), number(len(c.unread), "state", "unreadable"),
		number(len(c.running), "state", "running"), number(len(c.interrupted), "state", "interrupted"))
	var stored int64
	for _, b := range c.Backups {
		stored += b.Stored
	}
	m.gauge("backups_stored_bytes", "Size of all that is stored of base backups.", number(stored))
	if len(c.good) == 0 {
		return
	}
	newest, oldest := c.good[len(c.good)-1], c.good[0]
	m.gauge("oldest_backup_timestamp_seconds", "When the oldest backup that can be recovered ended.", moment(oldest.Ended()))
	m.gauge("newest_backup_timestamp_seconds", "When the newest backup that can be recovered ended.", moment(newest.Ended()))
	_, why := c.Beside()
	m.gauge("newest_backup_beside", "Whether a restore without --timeline leaves the newest backup aside.", truth(why != nil))
	m.gauge("newest_backup_bytes", "Size of the cluster in it.", number(newest.Header.Bytes))
	m.gauge("newest_backup_stored_bytes", "Size of what is stored of it, without what it uses of others.", number(newest.Stored))
	if h := newest.Header; !h.StopTime.IsZero() && !h.StartTime.IsZero() {
		m.gauge("newest_backup_duration_seconds", "How long it took.", number(int64(h.StopTime.Sub(h.StartTime)/time.Second)))
	}
}

func (c *condition) walGauges(m *metrics, bytes map[wal.Timeline]int64) {
	segments, newest := map[wal.Timeline]uint64{}, map[wal.Timeline]time.Time{}
	for i, w := range c.Coverage.Ranges {
		segments[w.Timeline] += w.Last - w.First + 1
		newest[w.Timeline] = c.Coverage.Times[i].Last
	}
	var counts, sizes, ages []sample
	for _, tli := range slices.Sorted(maps.Keys(segments)) {
		label := timelineLabel(tli)
		counts, sizes, ages = append(counts, number(segments[tli], label...)), append(sizes, number(bytes[tli], label...)), append(ages, moment(newest[tli], label...))
	}
	m.gauge("wal_segments", "WAL segments that are stored.", counts...)
	m.gauge("wal_stored_bytes", "Size of what is stored of WAL, with histories and labels.", sizes...)
	m.gauge("newest_wal_timestamp_seconds", "When the last WAL segment was stored.", ages...)
	c.holeGauges(m)
}

func (c *condition) holeGauges(m *metrics) {
	var holes, segments []sample
	for _, state := range []string{archive.HoleMissing, archive.HoleDropped, archive.HoleAccepted, archive.HoleExpired} {
		runs, n := c.holes(state), uint64(0)
		for _, h := range runs {
			n += h.Segments
		}
		holes = append(holes, number(len(runs), "state", state))
		segments = append(segments, number(n, "state", state))
	}
	m.gauge("holes", "Runs of WAL segments that are not there, by what is known of them.", holes...)
	m.gauge("missing_segments", "WAL segments in them.", segments...)
	m.gauge("lost_histories", "Timeline histories that are missing.", number(len(c.Histories)))
}

// walBytes sums up what is stored of each timeline.
func walBytes(ctx context.Context, r *archive.Repo) (map[wal.Timeline]int64, error) {
	bytes := map[wal.Timeline]int64{}
	for info, err := range r.List(ctx, layout.WAL, "") {
		if err != nil {
			return nil, err
		}
		name, _, _ := strings.Cut(path.Base(info.Key), ".")
		if tli, err := strconv.ParseUint(name[:min(len(name), 8)], 16, 32); err == nil {
			bytes[wal.Timeline(tli)] += info.Size
		}
	}
	return bytes, nil
}

func timelineLabel(tli wal.Timeline) []string {
	return []string{"timeline", strconv.FormatUint(uint64(tli), 10)}
}

// windowGauges say of each timeline from when to when its last window is, the one
// that may still grow. Of one that begins with the timeline nobody knows when.
func (c *condition) windowGauges(m *metrics) {
	var from, to []sample
	for i, w := range c.Windows {
		if i+1 < len(c.Windows) && c.Windows[i+1].Timeline == w.Timeline {
			continue
		}
		if !w.From.IsZero() {
			from = append(from, moment(w.From, timelineLabel(w.Timeline)...))
		}
		if !w.To.IsZero() {
			to = append(to, moment(w.To, timelineLabel(w.Timeline)...))
		}
	}
	m.gauge("recoverable_from_timestamp_seconds", "The first moment from which on all can be recovered, up to the end of the WAL.", from...)
	m.gauge("recoverable_to_timestamp_seconds", "The last moment that can be recovered; where that is not known, when the last WAL segment was stored.", to...)
}

// gauges say of the newest of its kind when it was, how long it took, and what came
// of it.
func (t trial) gauges(m *metrics, seconds []sample) {
	name := "last_" + t.kind
	if t.newest != nil {
		m.gauge(name+"_timestamp_seconds", "When the last "+t.kind+" began.", moment(t.newest.Began))
		m.gauge(name+"_duration_seconds", "How long it took.", seconds...)
	}
	if t.newest != nil || t.failure != nil {
		m.gauge(name+"_ok", "Whether all was well then, and nothing was found since.", truth(t.failure == nil))
	}
}

func (c *condition) verifySeconds() []sample {
	if c.verify.newest == nil {
		return nil
	}
	ended, err := time.Parse(time.RFC3339, c.verify.newest.Values["ended"])
	if err != nil {
		return nil
	}
	return []sample{number(int64(max(ended.Sub(c.verify.newest.Began), 0) / time.Second))}
}

// drillSeconds are the steps of the last drill, as far as it came.
func (c *condition) drillSeconds() (steps []sample) {
	if c.drill.newest == nil {
		return nil
	}
	for _, step := range []string{"restore", "recovery", "check", "total"} {
		seconds, err := strconv.ParseFloat(strings.TrimSpace(c.drill.newest.Values[step+"-seconds"]), 64)
		if err == nil {
			steps = append(steps, sample{strconv.FormatFloat(seconds, 'f', -1, 64), []string{"step", step}})
		}
	}
	return steps
}

package main

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/wal"
)

// metrics are the condition as Prometheus wants it.
func (c condition) metrics(repository string) string {
	m := metrics{repository: repository}
	m.up(true)
	m.gauge("repository_info", "What the repository is of.", number(1,
		"system_identifier", strconv.FormatUint(c.repo.SystemID, 10), "postgresql", strconv.Itoa(c.repo.Major)))
	c.backupGauges(&m)
	c.walGauges(&m)
	c.windowGauges(&m)
	c.verify.gauges(&m, c.verifySeconds())
	c.drill.gauges(&m, c.drillSeconds())
	return m.text.String()
}

func (m *metrics) up(yes bool) {
	m.gauge("up", "Whether the repository could be read.", truth(yes))
}

func (c condition) backupGauges(m *metrics) {
	m.gauge("backups", "Base backups, by whether they can be recovered.",
		number(len(c.good), "state", "good"), number(len(c.bad), "state", "bad"),
		number(len(c.running), "state", "running"), number(len(c.interrupted), "state", "interrupted"))
	var stored int64
	for _, b := range c.backups {
		stored += b.Stored
	}
	m.gauge("backups_stored_bytes", "Size of all that is stored of base backups.", number(stored))
	if len(c.good) == 0 {
		return
	}
	newest, oldest := c.good[len(c.good)-1], c.good[0]
	m.gauge("oldest_backup_timestamp_seconds", "When the oldest backup that can be recovered ended.", moment(ended(oldest)))
	m.gauge("newest_backup_timestamp_seconds", "When the newest backup that can be recovered ended.", moment(ended(newest)))
	m.gauge("newest_backup_bytes", "Size of the cluster in it.", number(newest.Header.Bytes))
	m.gauge("newest_backup_stored_bytes", "Size of what is stored of it, without what it uses of others.", number(newest.Stored))
	if h := newest.Header; !h.StopTime.IsZero() && !h.StartTime.IsZero() {
		m.gauge("newest_backup_duration_seconds", "How long it took.", number(int64(h.StopTime.Sub(h.StartTime)/time.Second)))
	}
}

func (c condition) walGauges(m *metrics) {
	var segments, bytes, newest []sample
	for _, tli := range slices.Sorted(maps.Keys(c.stored)) {
		w := c.stored[tli]
		segments = append(segments, number(w.segments, timelineLabel(tli)...))
		bytes = append(bytes, number(w.bytes, timelineLabel(tli)...))
		newest = append(newest, moment(w.newest, timelineLabel(tli)...))
	}
	m.gauge("wal_segments", "WAL segments that are stored.", segments...)
	m.gauge("wal_stored_bytes", "Size of what is stored of them.", bytes...)
	m.gauge("newest_wal_timestamp_seconds", "When the last WAL segment was stored.", newest...)
	var missing uint64
	for _, w := range c.missing {
		missing += w.Last - w.First + 1
	}
	m.gauge("holes", "Runs of missing WAL segments that nobody has accepted.", number(len(c.missing)))
	m.gauge("missing_segments", "WAL segments in them.", number(missing))
	m.gauge("accepted_holes", "Holes that an operator or expire has accepted.", number(len(c.coverage.Accepted)))
	m.gauge("dropped_gaps", "Runs of WAL segments that wal-push --queue-max has dropped.", number(len(c.dropped)))
}

func timelineLabel(tli wal.Timeline) []string {
	return []string{"timeline", strconv.FormatUint(uint64(tli), 10)}
}

// windowGauges say for each timeline from when to when there is no hole. What the
// last segment holds is a little older than the segment.
func (c condition) windowGauges(m *metrics) {
	var from, to []sample
	for _, tli := range slices.Sorted(maps.Keys(c.stored)) {
		i := slices.IndexFunc(c.good, func(b archive.Backup) bool {
			return c.coverage.Reach(b, archive.Target{Kind: "latest", Timeline: tli}) == nil
		})
		if i < 0 {
			continue
		}
		from = append(from, moment(ended(c.good[i]), timelineLabel(tli)...))
		to = append(to, moment(c.stored[tli].newest, timelineLabel(tli)...))
	}
	m.gauge("recoverable_from_timestamp_seconds", "The first moment that can be recovered, up to the end of the timeline.", from...)
	m.gauge("recoverable_to_timestamp_seconds", "When the last WAL segment of the timeline was stored.", to...)
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

func (c condition) verifySeconds() []sample {
	if c.verify.newest == nil {
		return nil
	}
	ended, err := time.Parse(time.RFC3339, c.verify.newest.Values["ended"])
	if err != nil {
		return nil
	}
	return []sample{number(int64(since(ended, c.verify.newest.Began) / time.Second))}
}

// drillSeconds are the steps of the last drill, as far as it came.
func (c condition) drillSeconds() (steps []sample) {
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

package report

import (
	"fmt"
	"time"
)

// now is a Sunday.
var now = time.Date(2026, 11, 22, 10, 15, 30, 0, time.UTC)

func before(d time.Duration) time.Time { return now.Add(-d) }

var ours = Repository{Location: "/backup/pg/main", ID: "YHW3KJ2Q7RBDX5LAM4NVC6TEZU", SystemID: 7312345678901234567, Major: 17, SegmentSize: 16 << 20}

// empty is a repository that was just made.
func empty() Facts { return Facts{Made: now, Repository: ours} }

// one has the backup of yesterday, and nothing else was ever done.
func one() Facts {
	f := empty()
	stop := before(22*hour + 3*time.Minute)
	f.Backups = []Backup{{Label: "20261121T120100Z", Type: Full, Timeline: 1, Start: before(22*hour + 14*time.Minute), Stop: stop, Size: 48_300_000_000, Stored: 12_100_000_000}}
	f.Timelines = []Timeline{{Number: 1, Windows: []Window{{stop, before(2 * time.Minute)}}}}
	f.Recovery = Recovery{Backup: "20261121T120100Z", Size: 48_300_000_000, Timeline: 1, Until: before(2 * time.Minute), Exact: true}
	f.WAL = tallied(23, func(i int) int { return 4 + i*i%11 })
	return f
}

// tallied is WAL of some hours.
func tallied(hours int, segments func(i int) int) Volume {
	t := NewTally(now)
	for i := range hours {
		for range segments(i) {
			t.Add(before(time.Duration(i)*hour), 5_100_000)
		}
	}
	return t.Volume()
}

// branches are five timelines of which two were left, with every kind of hole,
// backup and record.
func branches() Facts {
	f := empty()
	d := func(days float64) time.Time { return before(time.Duration(days * float64(day))) }
	f.Timelines = []Timeline{
		{Number: 1, Windows: []Window{{d(40), d(33)}, {d(32), d(25)}, {d(24.5), d(17)}}},
		{Number: 2, Parent: 1, Forked: d(30), ForkLSN: "0/9000110", Windows: []Window{{d(30), d(27)}}},
		{Number: 3, Parent: 1, Forked: d(21), ForkLSN: "0/C000028", Windows: []Window{{d(21), d(14)}, {d(13), d(9)}}},
		{Number: 4, Parent: 3, Forked: d(11), ForkLSN: "1/200", Windows: nil},
		{Number: 5, Parent: 3, Forked: d(9.5), ForkLSN: "1/5000", Windows: []Window{{d(9.5), d(6)}, {d(5.4), before(7 * time.Minute)}}},
	}
	for i := range 38 {
		at := d(40 - float64(i)*1.03)
		b := Backup{Label: at.Format("20060102T150405Z"), Timeline: 1, Type: Incremental, Start: at, Stop: at.Add(time.Duration(4+i%5) * time.Minute),
			Size: 310e9 + int64(i)*2e9, Stored: 4e9 + int64(i*i%7)*1e9, Parent: d(40 - float64(i/7*7)*1.03).Format("20060102T150405Z")}
		if i%7 == 0 {
			b.Type, b.Stored, b.Parent, b.Stop = Full, 88e9+int64(i)*5e8, "", at.Add(time.Duration(71+i)*time.Minute)
		}
		switch {
		case i >= 30:
			b.Timeline = 5
		case i >= 19:
			b.Timeline = 3
		}
		f.Backups = append(f.Backups, b)
	}
	f.Backups[7].Pinned, f.Backups[7].Pin = true, "before the migration to version 9"
	f.Backups[16].State, f.Backups[16].Remark = Bad, "000000010000000A00000065 is missing"
	f.Backups[33].Type, f.Backups[33].Stop, f.Backups[33].State, f.Backups[33].Remark, f.Backups[33].Size = Incomplete, time.Time{}, Doubtful, "interrupted", 0
	f.Holes = []Hole{
		{Kind: Expired, Timeline: 1, First: "000000010000000000000041", Last: "000000010000000000000090", Segments: 80, From: d(33), To: d(32), Since: d(2), Reason: "older than 30 days"},
		{Kind: Missing, Timeline: 1, First: "000000010000000A00000065", Last: "000000010000000A00000065", Segments: 1, From: d(25), To: d(24.5), Since: d(24.5)},
		{Kind: Accepted, Timeline: 3, First: "000000030000000B00000001", Last: "000000030000000B00000010", Segments: 16, From: d(14), To: d(13), Since: d(13), Reason: "the disk of the archive was full"},
		{Kind: Dropped, Timeline: 5, First: "000000050000000C00000001", Last: "000000050000000C000000FF", Segments: 255, From: d(6), To: d(5.4), Since: d(5.4), Reason: "dial tcp 10.0.0.7:22: connection refused"},
	}
	f.Recovery = Recovery{Backup: f.Backups[37].Label, Size: f.Backups[37].Size, Timeline: 5, Until: before(7 * time.Minute)}
	f.Verifications = []Verification{
		{Began: d(30), Ended: d(29.9), Full: true, Passed: true, Objects: 4210, Bytes: 301e9, Host: "backup1"},
		{Began: d(8), Ended: d(7.9), Full: true, Objects: 5120, Bytes: 352e9, Findings: 2, Host: "backup1"},
		{Began: d(1), Ended: d(1).Add(9 * time.Second), Passed: true, Objects: 5230, Host: "backup1"},
	}
	f.Drills = []Drill{
		{Began: d(3), Passed: true, Backup: f.Backups[35].Label, Target: "latest", Host: "drill1", Size: 380e9, Restore: 31*time.Minute + 12*time.Second, Recovery: 11 * time.Minute, Check: 64 * time.Minute, Commit: "2026-11-19 10:02:11+00", Amcheck: "ok"},
		{Began: d(10), Backup: f.Backups[28].Label, Target: "latest", Host: "drill1", Size: 360e9, Restore: 29 * time.Minute, Step: "recovery", Reason: "it ended at B/4000000, before the end of the archive"},
	}
	f.WAL = tallied(40*24, func(i int) int { return 20 + i*7%13 + 30*((i/24)%7/5) })
	return f
}

// many are 1,000 backups of two years.
func many() Facts {
	f := empty()
	const backups = 1000
	from := before(2 * 365 * day)
	for i := range backups {
		at := from.Add(time.Duration(i) * (2 * 365 * day / backups))
		b := Backup{Label: at.Format("20060102T150405Z"), Type: Incremental, Timeline: 1, Start: at, Stop: at.Add(time.Duration(4+i%9) * time.Minute),
			Size: 200e9 + int64(i)*1e9, Stored: 3e9 + int64(i*i%17)*1e9, Parent: f.lastFull()}
		if i%10 == 0 {
			b.Type, b.Stored, b.Parent, b.Stop = Full, 50e9+int64(i)*25e7, "", at.Add(time.Duration(50+i/5)*time.Minute)
		}
		if i%100 == 0 {
			b.Pinned, b.Pin = true, fmt.Sprintf("end of the quarter %d", i/100)
		}
		f.Backups = append(f.Backups, b)
	}
	f.Timelines = []Timeline{{Number: 1, Windows: []Window{{from, before(time.Minute)}}}}
	last := f.Backups[backups-1]
	f.Recovery = Recovery{Backup: last.Label, Size: last.Size, Timeline: 1, Until: before(time.Minute), Exact: true}
	f.Verifications = []Verification{{Began: before(2 * day), Ended: before(40 * hour), Full: true, Passed: true, Objects: 912_345, Bytes: 14e12, Host: "backup1"}}
	f.Drills = []Drill{{Began: before(day), Passed: true, Backup: last.Label, Target: "latest", Host: "drill1", Size: last.Size, Restore: 100 * time.Minute, Recovery: 14 * time.Minute}}
	f.WAL = tallied(2*365*24, func(i int) int { return 10 + i/900 })
	return f
}

func (f Facts) lastFull() string {
	label := ""
	for _, b := range f.Backups {
		if b.Type == Full {
			label = b.Label
		}
	}
	return label
}

// hostile has in every text what would break out of a page.
func hostile() Facts {
	const evil = `"><script>alert(1)</script><svg onload='x'>&amp;' style="x:url(http://example.com)` + "\x00\x07\u202egnp\xff\n{{.}}"
	f := branches()
	f.Repository.Location, f.Repository.ID, f.Recovery.Backup = evil, evil, evil
	for i := range f.Backups {
		b := &f.Backups[i]
		b.Label, b.Parent, b.Pin, b.Pinned, b.Remark = evil, evil, evil, true, evil
	}
	f.Backups[0].Type = evil
	for i := range f.Holes {
		h := &f.Holes[i]
		h.First, h.Last, h.Reason = evil, evil, evil
	}
	for i := range f.Timelines {
		f.Timelines[i].ForkLSN = evil
	}
	f.Verifications[0].Host = evil
	for i := range f.Drills {
		d := &f.Drills[i]
		d.Backup, d.Target, d.Host, d.Commit, d.Amcheck, d.Step, d.Reason = evil, evil, evil, evil, evil, evil, evil
	}
	return f
}

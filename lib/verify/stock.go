package verify

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/codec"
	"pgpipes/lib/layout"
	"pgpipes/lib/manifest"
	"pgpipes/lib/retain"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

// A stock is what one listing of a repository tells. Its size does not grow with
// the number of segments, but with that of runs of them.
type stock struct {
	ranges    []retain.WALRange
	times     []archive.Times // of the ranges
	histories []wal.Timeline
	notes     []store.Info // gaps, holes, restores, records
	backups   []archive.Backup
	objects   map[string]store.Info // below base/
	bytes     int64                 // of WAL and of parts: what is to be read
	coverage  archive.Coverage
}

// takeStock lists everything, and finds what its name or its size gives away.
func (v *verifier) takeStock(ctx context.Context) error {
	v.stock.objects = map[string]store.Info{}
	for info, err := range v.List(ctx, "", "") {
		if err != nil {
			return err
		}
		v.takeObject(ctx, info)
		if err := v.halted(); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (v *verifier) takeObject(ctx context.Context, info store.Info) {
	if v.all() {
		v.result.Objects++
	}
	top, _, _ := strings.Cut(info.Key, "/")
	switch top + "/" {
	case layout.WAL:
		v.takeWAL(info)
	case layout.Base:
		v.takeBase(ctx, info)
	case layout.Gap, layout.Hole, layout.Restore, archive.KindVerify + "/", archive.KindDrill + "/":
		v.stock.notes = append(v.stock.notes, info)
	case "lock/", "lease/":
	default:
		if info.Key != layout.Identity {
			v.takeStranger(info.Key)
		}
	}
}

// takeStranger tells of an object that is no name of ours. What has the name of
// a WAL file is not where recovery looks for it.
func (v *verifier) takeStranger(key string) {
	if !v.all() {
		return
	}
	plain, _ := codec.SplitName(path.Base(key))
	if _, err := wal.ParseName(plain); err == nil && !strings.HasPrefix(key, layout.Base) {
		v.found(FoundDamaged, key, "the name of a WAL file, in a place where none is looked for")
		return
	}
	v.remark("%s: foreign: no name of ours", key)
}

func (v *verifier) takeWAL(info store.Info) {
	n, format, ok := layout.ParseWALKey(info.Key)
	if !ok || n.Kind == wal.TimelineHistory && format != codec.None {
		v.takeStranger(info.Key)
		return
	}
	if n.Kind == wal.TimelineHistory {
		v.stock.histories = append(v.stock.histories, n.Timeline)
		return
	}
	number, err := v.SegmentSize.Split(n)
	if err != nil {
		v.foundInAll(info.Key, "no file of this cluster has that name: its segments are of %d bytes", v.SegmentSize)
		return
	}
	v.stock.bytes += info.Size
	if wrong := v.wrongSize(n, format, info.Size); wrong != "" {
		v.foundInAll(info.Key, "%s", wrong)
	}
	if n.Kind == wal.Segment {
		v.stock.addSegment(n.Timeline, number, info.ModTime)
	}
}

// foundInAll is a finding that is of no interest to those who ask for some
// backups only: what these need is looked at for them.
func (v *verifier) foundInAll(key, format string, values ...any) {
	if v.all() {
		v.found(FoundDamaged, key, format, values...)
	}
}

// wrongSize says what is wrong with the size of the object of a WAL file, "" if
// that tells nothing.
func (v *verifier) wrongSize(n wal.Name, format codec.Format, size int64) string {
	segment := int64(v.SegmentSize)
	switch {
	case size == 0:
		return "empty"
	case !archive.IsSegment(n) && size > archive.TextLimit:
		return "too large for such a file"
	case !archive.IsSegment(n):
	case format == codec.None && size != segment:
		return "not of the size of a segment"
	case size > segment+segment>>4+64<<10:
		return "larger than any segment, compressed" // even what cannot be compressed hardly grows
	case size < segment>>15:
		return "smaller than any segment, compressed" // the least that zstd makes of zeros
	}
	return ""
}

// addSegment takes segments as they are listed, by timeline and number.
func (s *stock) addSegment(tli wal.Timeline, number uint64, at time.Time) {
	if last := len(s.ranges) - 1; last >= 0 && s.ranges[last].Timeline == tli && number <= s.ranges[last].Last+1 {
		s.ranges[last].Last, s.times[last].Last = number, at
		return
	}
	s.ranges = append(s.ranges, retain.WALRange{Timeline: tli, First: number, Last: number})
	s.times = append(s.times, archive.Times{First: at, Last: at})
}

func (v *verifier) takeBase(ctx context.Context, info store.Info) {
	label, name, inside := strings.Cut(strings.TrimPrefix(info.Key, layout.Base), "/")
	v.stock.objects[info.Key] = info
	if !inside || !manifest.ValidLabel(label) {
		v.takeStranger(info.Key)
		return
	}
	if !v.all() && !slices.Contains(v.Labels, label) {
		return
	}
	last := len(v.stock.backups) - 1
	if last < 0 || v.stock.backups[last].Label != label {
		v.stock.backups = append(v.stock.backups, archive.Backup{Label: label})
		last++
	}
	b := &v.stock.backups[last]
	b.Keys = append(b.Keys, info.Key)
	switch {
	case archive.PartNumber(info.Key) != "":
		if info.Size == 0 {
			v.found(FoundDamaged, info.Key, "empty")
		}
	case name == layout.Manifest || name == layout.Start || name == layout.Pin:
		v.describeBackup(ctx, b, info.Key)
	default:
		v.takeStranger(info.Key)
	}
}

// describeBackup reads what an object says about its backup.
func (v *verifier) describeBackup(ctx context.Context, b *archive.Backup, key string) {
	err := v.Describe(ctx, b, key)
	b.Err = errors.Join(b.Err, err)
	switch {
	case err != nil:
	case key == layout.BaseKey(b.Label, layout.Start):
		err = v.checkStart(ctx, b.Label)
	case key == layout.BaseKey(b.Label, layout.Pin):
		_, err = v.Text(ctx, key)
	}
	if err != nil && v.judge(key, err) { // expired, or begun no more
		b.Complete = b.Complete && key != layout.BaseKey(b.Label, layout.Manifest)
	}
}

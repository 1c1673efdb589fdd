package pgdata

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"pgpipes/lib/wal"
)

// ErrLabel is wrapped by the error of a backup_label that no server would start
// from.
var ErrLabel = errors.New("pgdata: bad backup_label")

// LabelFile is the path of the backup label in a data directory. Its presence is
// what makes a server recover from the backup's beginning instead of from the
// latest checkpoint in pg_control.
const LabelFile = "backup_label"

// Label is what a backup_label says. Texts are as the server wrote them, in any
// encoding.
type Label struct {
	StartLSN      wal.LSN // where replay begins
	CheckpointLSN wal.LSN
	StartFile     string // name of the segment that holds StartLSN
	Method        string // streamed; or pg_rewind
	From          string // primary (release 13: master) or standby
	StartTime     string // in the server's log_timezone, for people
	Label         string
	Timeline      wal.Timeline
	Incremental   bool // of an incremental backup, which only pg_combinebackup can use
}

// ParseLabel reads a backup_label as the server does (xlogrecovery.c:
// read_backup_label): the first two lines must be there and exact, the others
// may be missing but must keep their order, every line ends in a line feed.
// Lines after these that are not known are let pass. Errors wrap ErrLabel.
func ParseLabel(b []byte) (Label, error) {
	text, whole := bytes.CutSuffix(b, []byte("\n"))
	if !whole {
		return Label{}, fmt.Errorf("%w: empty, or its last line has no end", ErrLabel)
	}
	var l Label
	next := 0
	for i, line := range strings.Split(string(text), "\n") {
		field, value := labelField(line)
		if i < requiredFields && field != i {
			return Label{}, fmt.Errorf("%w: line %d is not %q", ErrLabel, i+1, labelFields[i].key)
		}
		if field < next && field >= 0 {
			return Label{}, fmt.Errorf("%w: line %d: %q is out of place", ErrLabel, i+1, labelFields[field].key)
		}
		if field < 0 {
			next = len(labelFields)
			continue
		}
		next = field + 1
		if err := labelFields[field].set(&l, value); err != nil {
			return Label{}, fmt.Errorf("%w: line %d: %v", ErrLabel, i+1, err)
		}
	}
	if next < requiredFields {
		return Label{}, fmt.Errorf("%w: no %q", ErrLabel, labelFields[next].key)
	}
	return l, nil
}

// requiredFields is how many of labelFields cannot be missing.
const requiredFields = 2

// labelFields are the lines of a label in their order (xlogbackup.c:
// build_backup_content).
var labelFields = []struct {
	key string
	set func(l *Label, value string) error
}{
	{"START WAL LOCATION: ", (*Label).setStart},
	{"CHECKPOINT LOCATION: ", func(l *Label, v string) (err error) { l.CheckpointLSN, err = wal.ParseLSN(v); return err }},
	{"BACKUP METHOD: ", func(l *Label, v string) error { l.Method = v; return nil }},
	{"BACKUP FROM: ", func(l *Label, v string) error { l.From = v; return nil }},
	{"START TIME: ", func(l *Label, v string) error { l.StartTime = v; return nil }},
	{"LABEL: ", func(l *Label, v string) error { l.Label = v; return nil }},
	{"START TIMELINE: ", (*Label).checkTimeline},
	{"INCREMENTAL FROM LSN: ", func(l *Label, v string) error { l.Incremental = true; return nil }},
	{"INCREMENTAL FROM TLI: ", func(l *Label, v string) error { l.Incremental = true; return nil }},
}

// labelField finds the field of a line, -1 if it is none of them.
func labelField(line string) (field int, value string) {
	for i, f := range labelFields {
		if v, ok := strings.CutPrefix(line, f.key); ok {
			return i, v
		}
	}
	return -1, ""
}

// setStart reads "0/5000028 (file 000000010000000000000005)". The timeline is
// that of the name. The middle digits of the name are the upper half of the LSN
// whatever the segment size.
func (l *Label) setStart(value string) error {
	place, rest, _ := strings.Cut(value, " (file ")
	file, closed := strings.CutSuffix(rest, ")")
	at, err := wal.ParseLSN(place)
	if err != nil {
		return err
	}
	name, err := wal.ParseName(file)
	if err != nil || name.Kind != wal.Segment || !closed {
		return fmt.Errorf("no segment in %.80q", value)
	}
	if name.Log != uint32(at>>32) {
		return fmt.Errorf("%s is not in %s", at, file)
	}
	l.StartLSN, l.StartFile, l.Timeline = at, file, name.Timeline
	return nil
}

// checkTimeline holds the timeline against that of the segment's name, as the
// server does.
func (l *Label) checkTimeline(value string) error {
	tli, err := strconv.ParseUint(value, 10, 32)
	if err != nil {
		return fmt.Errorf("%.40q is not a timeline", value)
	}
	if wal.Timeline(tli) != l.Timeline {
		return fmt.Errorf("timeline %d, but the segment is %s", tli, l.StartFile)
	}
	return nil
}

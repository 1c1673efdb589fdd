package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"pgpipes/lib/layout"
	"pgpipes/lib/lock"
	"pgpipes/lib/manifest"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

// Start is what a backup under way says of itself: lines of a key, a tab and a
// value, in base/LABEL/start. They tell what WAL, and what other backup, is to
// be protected.
//
//	host            db1
//	pid             4711
//	timeline        1
//	start-lsn       0/2000028
//	time            2026-11-22T10:15:00.123Z
//	checksums       on
//	block-size      8192
//	parent          20261121T101500Z    whose parts it uses, if it does so
//	first-timeline  1                   if it goes on with what was interrupted:
//	first-time      2026-11-22T09:00:00.456Z
type Start struct {
	Host     string
	Timeline wal.Timeline
	LSN      wal.LSN
	Time     time.Time
	// Checksums says that the cluster has page checksums, and BlockSize, in
	// bytes, how large its pages are; 0 if it is unknown.
	Checksums bool
	From      string
	BlockSize int
	Parent    string
	// FirstTime is when the first of its runs began, and FirstTimeline the
	// timeline then, or 0 if the log has gone back since: then times of files
	// prove nothing.
	FirstTime     time.Time
	FirstTimeline wal.Timeline
}

// Begin records that the backup of this header has begun, which protects the WAL
// from its start on, and its parent, from expire. The error wraps
// store.ErrDiffers if the label is taken. If there is left of what an interrupted
// one of this label was, the backup goes on with that, and its record takes the
// place of that one's; no other may be under way. No expire is meanwhile, which is
// waited for, and what is left is looked for after that. That this is gone by then
// does not wrap store.ErrNotExist.
func (r *Repo) Begin(ctx context.Context, h manifest.Header, left *manifest.Header) error {
	s := Start{
		Timeline: h.StartTimeline, LSN: h.StartLSN, Time: h.StartTime,
		From: h.From, Checksums: h.Checksums, BlockSize: h.BlockSize, Parent: h.Parent,
	}
	s.FirstTime, s.FirstTimeline = s.Time, s.Timeline
	var err error
	if left == nil {
		err = r.putStart(ctx, h.Label, s)
	} else {
		err = r.WithoutExpire(ctx, "base-copy", func(ctx context.Context) error {
			if err := r.takeOver(ctx, h.Label, &s); err != nil {
				return err
			}
			return r.putStart(ctx, h.Label, s)
		})
	}
	if err == nil && h.Parent != "" { // expire may have been faster
		if _, err = r.Stat(ctx, layout.BaseKey(h.Parent, layout.Manifest)); err != nil && left == nil {
			err = errors.Join(err, r.Abort(ctx, h.Label))
		}
	}
	if err == nil && left != nil && len(left.Parts) > 0 {
		err = removedMeanwhile(h.Label, r.VerifyParts(ctx, *left))
	}
	return err
}

// removedMeanwhile is a failure and no answer: another try finds what there is then.
func removedMeanwhile(label string, err error) error {
	if errors.Is(err, store.ErrNotExist) {
		err = fmt.Errorf("%s: what was left of it has been removed meanwhile: %v", label, err)
	}
	return err
}

const (
	// ExpireLock is the lock under which expire decides and removes: what it has
	// decided holds only while no other removes anything.
	ExpireLock = "expire"
	// expirePatience is how long others wait for one that is at work.
	expirePatience = 10 * time.Minute
)

// WithoutExpire does work for a command while no expire is at work, which is waited
// for: one that comes later sees what has been done.
func (r *Repo) WithoutExpire(ctx context.Context, command string, work func(context.Context) error) error {
	return lock.Hold(ctx, r.Store, ExpireLock, command, expirePatience, work)
}

func (r *Repo) putStart(ctx context.Context, label string, s Start) error {
	err := r.putText(ctx, layout.BaseKey(label, layout.Start), s.text())
	if errors.Is(err, store.ErrDiffers) {
		return fmt.Errorf("%s: a backup of this label has been begun before: %w", label, store.ErrDiffers)
	}
	return err
}

// takeOver removes the record of an interrupted backup, when s has got from it
// what must not be forgotten. Between this and the next record nothing is known
// of the backup, so that expire keeps everything for it.
func (r *Repo) takeOver(ctx context.Context, label string, s *Start) error {
	if _, err := r.Stat(ctx, layout.BaseKey(label, layout.Manifest)); !errors.Is(err, store.ErrNotExist) {
		return cmp.Or(err, fmt.Errorf("%s: it is complete: %w", label, store.ErrDiffers))
	}
	old, err := r.ReadStart(ctx, label)
	if err != nil {
		return removedMeanwhile(label, err)
	}
	if old.FirstTime.Before(s.FirstTime) {
		s.FirstTime = old.FirstTime
	}
	if s.FirstTimeline = old.FirstTimeline; s.LSN < old.LSN || s.From != old.From {
		s.FirstTimeline = 0
	}
	return r.Remove(ctx, layout.BaseKey(label, layout.Start))
}

// Abort takes Begin back.
func (r *Repo) Abort(ctx context.Context, label string) error {
	return r.Remove(ctx, layout.BaseKey(label, layout.Start))
}

func (s Start) text() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	text := fmt.Sprintf("host\t%s\npid\t%d\ntimeline\t%d\nstart-lsn\t%s\ntime\t%s\n",
		host, os.Getpid(), uint32(s.Timeline), s.LSN, s.Time.UTC().Format(time.RFC3339Nano))
	if s.BlockSize > 0 {
		text += fmt.Sprintf("checksums\t%s\nblock-size\t%d\n", map[bool]string{true: "on", false: "off"}[s.Checksums], s.BlockSize)
	}
	if s.From != "" {
		text += "from\t" + s.From + "\n"
	}
	if s.Parent != "" {
		text += "parent\t" + s.Parent + "\n"
	}
	if !s.FirstTime.Equal(s.Time) || s.FirstTimeline != s.Timeline {
		text += fmt.Sprintf("first-timeline\t%d\nfirst-time\t%s\n", uint32(s.FirstTimeline), s.FirstTime.UTC().Format(time.RFC3339Nano))
	}
	return text
}

// ReadStart reads the record of a backup under way, or interrupted.
func (r *Repo) ReadStart(ctx context.Context, label string) (Start, error) {
	text, err := r.Text(ctx, layout.BaseKey(label, layout.Start))
	if err != nil {
		return Start{}, err
	}
	s, err := parseStart(text)
	if err != nil {
		err = fmt.Errorf("%s: %w: %v", layout.BaseKey(label, layout.Start), ErrDamaged, err)
	}
	return s, err
}

func parseStart(text []byte) (Start, error) {
	var s Start
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if err := s.set(key, value); err != nil {
			return Start{}, err
		}
	}
	if s.Timeline == 0 || s.LSN == 0 || s.Time.IsZero() { // without them nobody knows what WAL to protect
		return Start{}, errors.New("it does not say from where and when")
	}
	if s.FirstTime.IsZero() {
		s.FirstTime, s.FirstTimeline = s.Time, s.Timeline
	}
	return s, nil
}

// set takes a line. Keys that are not known are for people.
func (s *Start) set(key, value string) (err error) {
	switch key {
	case "host":
		s.Host = value
	case "timeline":
		_, err = fmt.Sscanf(value, "%d", (*uint32)(&s.Timeline))
	case "start-lsn":
		s.LSN, err = wal.ParseLSN(value)
	case "time":
		s.Time, err = time.Parse(time.RFC3339Nano, value)
	case "from":
		s.From = value
	case "checksums":
		s.Checksums = value == "on"
	case "block-size":
		if s.BlockSize, err = strconv.Atoi(value); err == nil && (s.BlockSize < 1<<10 || s.BlockSize > 1<<15 || s.BlockSize&(s.BlockSize-1) != 0) {
			err = fmt.Errorf("no pages are of %d bytes", s.BlockSize)
		}
	case "parent":
		if s.Parent = value; !manifest.ValidLabel(value) {
			err = fmt.Errorf("%q is not a label", value)
		}
	case "first-timeline":
		_, err = fmt.Sscanf(value, "%d", (*uint32)(&s.FirstTimeline))
	case "first-time":
		s.FirstTime, err = time.Parse(time.RFC3339Nano, value)
	}
	return err
}

package archive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"pgpipes/lib/layout"
	"pgpipes/lib/note"
	"pgpipes/lib/store"
)

const (
	restoringTitle  = "pgpipes-restoring"
	restoringFormat = 1
)

// A Restoring is a note that a backup is being restored, or was just now: the
// server fetches WAL for long after. As long as it holds expire keeps the backup,
// what that needs, and the WAL after it. It is the object restore/TIME-HOST-PID:
//
//	pgpipes-restoring  1
//	backup             20261122T101500Z
//	host               db2
//	pid                4711
//	time               2026-11-23T03:00:00Z
//	until              2026-11-25T03:00:00Z
type Restoring struct {
	Key    string
	Backup string
	Host   string
	Time   time.Time
	Until  time.Time
}

// BeginRestore puts such a note and returns its key. The backup is looked for
// after that: expire may have been faster.
func (r *Repo) BeginRestore(ctx context.Context, label string, now, until time.Time) (key string, err error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	key = fmt.Sprintf("%s%s-%s-%d", layout.Restore, now.UTC().Format(recordTime), strings.ReplaceAll(note.InLine(host), "/", "_"), os.Getpid())
	err = r.putNote(ctx, key, note.Text(restoringTitle, restoringFormat, "backup", label, "host", host,
		"pid", strconv.Itoa(os.Getpid()), "time", now.UTC().Format(time.RFC3339), "until", until.UTC().Format(time.RFC3339)))
	if err != nil {
		return "", err
	}
	if _, err := r.Stat(ctx, layout.BaseKey(label, layout.Manifest)); err != nil {
		return "", errors.Join(err, r.Remove(ctx, key))
	}
	return key, nil
}

// Restorings lists the notes. Of one that is damaged nobody knows which backup it
// protects; it is of no use.
func (r *Repo) Restorings(ctx context.Context) ([]Restoring, error) {
	var all []Restoring
	for info, err := range r.List(ctx, layout.Restore, "") {
		if err != nil {
			return nil, err
		}
		text, err := r.Text(ctx, info.Key)
		if errors.Is(err, store.ErrNotExist) { // it has just ended
			continue
		}
		if err != nil {
			return nil, err
		}
		value, _ := note.Parse(text, restoringTitle, restoringFormat)
		began, _ := time.Parse(time.RFC3339, value["time"])
		until, _ := time.Parse(time.RFC3339, value["until"])
		all = append(all, Restoring{info.Key, value["backup"], value["host"], began, until})
	}
	return all, nil
}

// Why says for people what it is.
func (r Restoring) Why() string {
	return fmt.Sprintf("being restored on %s since %s", r.Host, r.Time.UTC().Format(time.RFC3339))
}

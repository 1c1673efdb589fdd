package archive

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"pgpipes/lib/manifest"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

const (
	manifestName = "manifest"
	startName    = "start"
	pinName      = "keep"
)

// Start is what a backup under way says of itself: lines of a key, a tab and a
// value, in base/LABEL/start.
type Start struct {
	Host     string
	Timeline wal.Timeline
	LSN      wal.LSN
	Time     time.Time
}

// Begin records that a backup has begun, which protects its WAL from expire. The
// error wraps store.ErrDiffers if the label is taken.
func (r *Repo) Begin(ctx context.Context, label string, tli wal.Timeline, start wal.LSN) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	text := fmt.Sprintf("host\t%s\npid\t%d\ntimeline\t%d\nstart-lsn\t%s\ntime\t%s\n",
		host, os.Getpid(), uint32(tli), start, time.Now().UTC().Format(time.RFC3339Nano))
	_, err = r.Put(ctx, baseKey(label, startName), func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
	if errors.Is(err, store.ErrDiffers) {
		return fmt.Errorf("%s: a backup of this label has been begun before: %w", label, store.ErrDiffers)
	}
	return err
}

// Abort takes Begin back.
func (r *Repo) Abort(ctx context.Context, label string) error {
	return r.Remove(ctx, baseKey(label, startName))
}

func (r *Repo) readStart(ctx context.Context, label string) (Start, error) {
	text, err := r.small(ctx, baseKey(label, startName))
	if err != nil {
		return Start{}, err
	}
	var s Start
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		var err error
		switch key {
		case "host":
			s.Host = value
		case "timeline":
			_, err = fmt.Sscanf(value, "%d", (*uint32)(&s.Timeline))
		case "start-lsn":
			s.LSN, err = wal.ParseLSN(value)
		case "time":
			s.Time, err = time.Parse(time.RFC3339Nano, value)
		}
		if err != nil {
			return Start{}, fmt.Errorf("%s: %w: %v", baseKey(label, startName), ErrDamaged, err)
		}
	}
	if s.Timeline == 0 || s.LSN == 0 || s.Time.IsZero() { // without them nobody knows what WAL to protect
		return Start{}, fmt.Errorf("%s: %w: it does not say from where and when", baseKey(label, startName), ErrDamaged)
	}
	return s, nil
}

// small reads an object of a few lines.
func (r *Repo) small(ctx context.Context, key string) ([]byte, error) {
	body, err := r.Get(ctx, key, 0, identityLimit)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

// A Backup is one directory below base/.
type Backup struct {
	Label    string
	Complete bool            // it has a manifest
	Header   manifest.Header // of a complete one
	Start    Start           // of one that is not
	Pin      string          // the reason in keep, "" if it is not pinned
	Stored   int64           // bytes of all its objects
	Keys     []string
	Err      error // why its manifest or another of its notes cannot be read
}

// Backups lists what is below base/, in the order of labels.
func (r *Repo) Backups(ctx context.Context) ([]Backup, error) {
	var all []Backup
	for info, err := range r.List(ctx, basePrefix, "") {
		if err != nil {
			return nil, err
		}
		label, _, inside := strings.Cut(strings.TrimPrefix(info.Key, basePrefix), "/")
		if !inside {
			continue
		}
		if len(all) == 0 || all[len(all)-1].Label != label {
			all = append(all, Backup{Label: label})
		}
		b := &all[len(all)-1]
		b.Keys = append(b.Keys, info.Key)
		b.Stored += info.Size
		b.Err = errors.Join(b.Err, r.describe(ctx, b, info.Key))
	}
	return all, nil
}

// describe reads what an object says about its backup.
func (r *Repo) describe(ctx context.Context, b *Backup, key string) (err error) {
	switch key {
	case baseKey(b.Label, manifestName):
		b.Complete = true
		b.Header, err = r.Header(ctx, b.Label)
	case baseKey(b.Label, startName):
		b.Start, err = r.readStart(ctx, b.Label)
	case baseKey(b.Label, pinName):
		var text []byte
		text, err = r.small(ctx, key)
		b.Pin = cmp.Or(string(bytes.TrimSpace(text)), "without a reason")
	}
	return err
}

// Manifest opens the manifest of a backup.
func (r *Repo) Manifest(ctx context.Context, label string) (io.ReadCloser, error) {
	return r.Get(ctx, baseKey(label, manifestName), 0, -1)
}

// Header reads the header of a backup's manifest, which has to be of this label
// and this cluster.
func (r *Repo) Header(ctx context.Context, label string) (manifest.Header, error) {
	key := baseKey(label, manifestName)
	body, err := r.Manifest(ctx, label)
	if err != nil {
		return manifest.Header{}, err
	}
	defer body.Close()
	m, err := manifest.NewReader(body)
	if errors.Is(err, manifest.ErrDamaged) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return manifest.Header{}, fmt.Errorf("%s: %w", key, err)
	}
	h := m.Header()
	switch {
	case h.Label != label:
		return h, fmt.Errorf("%s: %w: it is the manifest of backup %s", key, ErrDamaged, h.Label)
	case h.SystemID != r.SystemID:
		return h, fmt.Errorf("%s: %w: system identifier %d %w", key, ErrDamaged, h.SystemID, ErrForeign)
	}
	return h, nil
}

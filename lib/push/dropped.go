package push

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/durable"
	"pgpipes/lib/note"
	"pgpipes/lib/state"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

const (
	dropTitle  = "pgpipes-drop"
	dropFormat = 1
	// knownName is the file, beside the records for a location, in which the
	// id of the repository that was there last is remembered.
	knownName = "repository"
)

// drops are the records of the WAL of one cluster that was dropped, each a file
// GAP/SYSTEM/LOCATION/NAME in the state directory: LOCATION is the beginning
// of the SHA-256 of the repository's location, NAME is the dropped file's. A
// record goes when the repository itself has it, as a Gap.
type drops struct {
	root string // the state directory
	dir  string // that of the cluster
}

func dropsOf(s *state.Dir, system uint64) (drops, error) {
	if s == nil {
		return drops{}, fmt.Errorf("there is no state directory")
	}
	root, err := s.Path()
	return drops{root, filepath.Join(root, "gap", strconv.FormatUint(system, 10))}, err
}

// A drop is one record: that a file was not stored in one repository.
type drop struct {
	location string // absolute, if it is a path
	id       string // of the repository; "" if it was never known
	name     wal.Name
	size     wal.SegmentSize
	time     time.Time
	host     string
	reason   string
}

func newDrop(o Outcome, n wal.Name, size wal.SegmentSize) drop {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	d := drop{
		location: absolute(o.Location), name: n, size: size, time: time.Now().UTC().Truncate(time.Second),
		host: note.InLine(host), reason: note.InLine(o.Err.Error()),
	}
	if o.Repo != nil {
		d.id = o.Repo.ID
	}
	return d
}

// absolute is a location that means the same in any directory.
func absolute(location string) string {
	location, _ = store.Absolute(location) // or as it is
	return note.InLine(location)
}

func (d drop) text() string {
	return fmt.Sprintf("%s\t%d\nlocation\t%s\nid\t%s\nname\t%s\nwal-segment-size\t%d\ntime\t%s\nhost\t%s\nreason\t%s\n",
		dropTitle, dropFormat, d.location, d.id, d.name, d.size, d.time.Format(time.RFC3339), d.host, d.reason)
}

// of is the directory of the records for a location.
func (d drops) of(location string) string {
	sum := sha256.Sum256([]byte(absolute(location)))
	return filepath.Join(d.dir, hex.EncodeToString(sum[:8]))
}

// add records a drop. It is on stable storage when add returns.
func (d drops) add(r drop) error {
	dir := d.of(r.location)
	if r.id == "" {
		r.id = readID(dir)
	}
	for _, above := range []string{d.root, filepath.Dir(d.dir), d.dir, dir} {
		if err := durable.Mkdir(above, 0o700); err != nil {
			return err
		}
	}
	return durable.WriteFile(filepath.Join(dir, r.name.String()), 0o600, func(w io.Writer) error {
		_, err := io.WriteString(w, r.text())
		return err
	})
}

// takeBack removes the record of what is not dropped after all. When it cannot,
// the file will be found in the repository, and is no gap then.
func (d drops) takeBack(r drop) {
	_ = os.Remove(filepath.Join(d.of(r.location), r.name.String()))
}

// remember notes which repository is at a location, for records made while
// nobody can ask. It does without if it cannot.
func (d drops) remember(r *archive.Repo) {
	dir := d.of(r.Location)
	if readID(dir) == r.ID || os.MkdirAll(dir, 0o700) != nil {
		return
	}
	_ = durable.WriteFile(filepath.Join(dir, knownName), 0o600, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, r.ID)
		return err
	})
}

func readID(dir string) string {
	text, _ := archive.ReadSmall(filepath.Join(dir, knownName))
	return note.InLine(string(text))
}

// settle makes gaps in a repository of the records that are about it, and
// removes them. It may be killed anywhere: then it is done again.
//
// A record that is about a repository by its id, but was made for the location
// of another one of this call, is for that one.
func (d drops) settle(ctx context.Context, r *archive.Repo, locations []string) error {
	elsewhere := map[string]bool{}
	for _, l := range locations {
		elsewhere[d.of(l)] = d.of(l) != d.of(r.Location)
	}
	dirs, err := os.ReadDir(d.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, l := range dirs {
		dir := filepath.Join(d.dir, l.Name())
		if elsewhere[dir] {
			continue
		}
		for _, kind := range []wal.Kind{wal.Segment, wal.Partial} {
			err = errors.Join(err, settleRuns(ctx, r, dir, kind, dir == d.of(r.Location)))
		}
	}
	return err
}

// settleRuns settles the records in a directory as runs of consecutive
// segments. Here says that they are of the repository's present location.
func settleRuns(ctx context.Context, r *archive.Repo, dir string, kind wal.Kind, here bool) error {
	entries, err := os.ReadDir(dir) // in the order of names
	if err != nil {
		return err
	}
	var run archive.Gap
	var failed error
	for _, e := range entries {
		n, err := wal.ParseName(e.Name())
		if err != nil || n.Kind != kind || !e.Type().IsRegular() {
			continue
		}
		if _, err := r.SegmentSize.Split(n); err != nil {
			continue // of a cluster whose segment size was changed
		}
		record, about, err := readDrop(filepath.Join(dir, e.Name()), n, r, here)
		failed = errors.Join(failed, err)
		if !about {
			continue
		}
		if run.Segments > 0 && !follow(r, run.Last, n) {
			if err := settleRun(ctx, r, dir, run); err != nil {
				return err
			}
			run = archive.Gap{}
		}
		extend(&run, record)
	}
	return errors.Join(failed, settleRun(ctx, r, dir, run))
}

func follow(r *archive.Repo, last, n wal.Name) bool {
	return last.Timeline == n.Timeline && r.Number(last)+1 == r.Number(n)
}

func extend(g *archive.Gap, d drop) {
	if g.Segments == 0 {
		*g = archive.Gap{Span: archive.Span{First: d.name}, From: d.time, To: d.time, Host: d.host, Reason: d.reason}
	}
	g.Last = d.name
	g.Segments++
	if d.time.Before(g.From) {
		g.From = d.time
	}
	if d.time.After(g.To) {
		g.To = d.time
	}
}

// settleRun stores the gap before it removes the records of it.
func settleRun(ctx context.Context, r *archive.Repo, dir string, g archive.Gap) error {
	if g.Segments == 0 {
		return nil
	}
	if err := r.PutGap(ctx, g); err != nil {
		return err
	}
	for number := r.Number(g.First); number <= r.Number(g.Last); number++ {
		n, err := wal.ParseName(r.SegmentSize.Name(g.First.Timeline, number))
		if err != nil {
			return err
		}
		n.Kind = g.First.Kind
		if err := os.Remove(filepath.Join(dir, n.String())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// readDrop reads a record and reports whether it is about a repository: that of
// the same id wherever it is now, or if the id was never known the one at the
// location. Of a damaged record the file's name and directory still tell.
func readDrop(path string, n wal.Name, r *archive.Repo, here bool) (d drop, about bool, err error) {
	text, err := archive.ReadSmall(path)
	if errors.Is(err, fs.ErrNotExist) { // settled by another process
		return drop{}, false, nil
	}
	if err != nil {
		return drop{}, false, err
	}
	value, ok := note.Parse(text, dropTitle, dropFormat)
	when, err := time.Parse(time.RFC3339, value["time"])
	if !ok || err != nil {
		info, err := os.Stat(path)
		if err != nil {
			return drop{}, false, err
		}
		d := drop{name: n, time: info.ModTime().UTC().Truncate(time.Second), host: "unknown", reason: "the record is damaged"}
		return d, here, nil
	}
	d = drop{name: n, time: when.UTC(), host: value["host"], reason: value["reason"], id: value["id"]}
	about = d.id == r.ID || d.id == "" && here
	return d, about && value["wal-segment-size"] == strconv.FormatInt(int64(r.SegmentSize), 10), nil
}

package push

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pgpipes/lib/archive"
	"pgpipes/lib/layout"
	"pgpipes/lib/state"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
	"pgpipes/test/repository"
)

// A queued is a server's pg_wal whose segments wait, a repository that can be
// taken away, and a guard with room for four segments.
type queued struct {
	t        *testing.T
	pgWAL    string
	location string
	state    string
	guard    Guard
	warned   []string
}

func newQueue(t *testing.T) *queued {
	t.Helper()
	top := t.TempDir()
	q := &queued{t: t, pgWAL: filepath.Join(top, "pg_wal"), location: filepath.Join(top, "mount", "r"), state: filepath.Join(top, "state")}
	for _, dir := range []string{filepath.Join(q.pgWAL, "archive_status"), filepath.Join(top, "mount")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	q.restart()
	return q
}

// restart is a new process: nothing is known but what is on disk.
func (q *queued) restart() {
	q.t.Helper()
	s, err := state.Open(q.state)
	if err != nil {
		q.t.Fatal(err)
	}
	q.guard = Guard{Max: 4 * int64(mib), State: s, Warn: func(err error) { q.warned = append(q.warned, err.Error()) }}
}

func segmentName(number int) string { return mib.Name(1, uint64(number)) }

// wait makes segments that the server wants archived.
func (q *queued) wait(first, last int) {
	q.t.Helper()
	for number := first; number <= last; number++ {
		q.offer(segmentName(number))
	}
}

func (q *queued) offer(s string) {
	q.t.Helper()
	if err := (fixture.Segment{Name: strings.TrimSuffix(s, ".partial")}).Write(filepath.Join(q.pgWAL, s)); err != nil {
		q.t.Fatal(err)
	}
	if err := os.WriteFile(q.status(s, ".ready"), nil, 0o600); err != nil {
		q.t.Fatal(err)
	}
}

func (q *queued) status(s, suffix string) string {
	return filepath.Join(q.pgWAL, "archive_status", s+suffix)
}

// archive is one call of wal-push for each of these files, as the server makes
// it: what is answered for is no longer wanted.
func (q *queued) archive(names ...string) error {
	q.t.Helper()
	for _, s := range names {
		if err := q.push(s, q.location); err != nil {
			return err
		}
		if err := os.Rename(q.status(s, ".ready"), q.status(s, ".done")); err != nil {
			q.t.Fatal(err)
		}
	}
	return nil
}

func (q *queued) push(s string, locations ...string) error {
	q.t.Helper()
	ctx, path := context.Background(), filepath.Join(q.pgWAL, s)
	source, err := archive.OpenSource(path)
	if err != nil {
		q.t.Fatal(err)
	}
	defer source.Close()
	for _, location := range locations {
		if r, err := archive.Open(ctx, location); err == nil {
			q.guard.Reached(ctx, r)
		}
	}
	p := Pusher{Locations: locations, Codec: plain}
	return q.guard.After(ctx, path, fixture.Name(q.t, s), &repository.Cluster, p.Push(ctx, &repository.Cluster, fixture.Name(q.t, s), source))
}

func (q *queued) away(away bool) {
	q.t.Helper()
	mount := filepath.Dir(q.location)
	from, to := mount, mount+".away"
	if !away {
		from, to = to, from
	}
	if err := os.Rename(from, to); err != nil {
		q.t.Fatal(err)
	}
}

// records are the drops that only the state directory knows of.
func (q *queued) records() (names []string) {
	q.t.Helper()
	err := filepath.WalkDir(filepath.Join(q.state, "gap"), func(path string, d fs.DirEntry, err error) error {
		if _, bad := wal.ParseName(filepath.Base(path)); err == nil && bad == nil && !d.IsDir() {
			names = append(names, d.Name())
		}
		return err
	})
	slices.Sort(names)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		q.t.Fatal(err)
	}
	return names
}

func (q *queued) repo() *archive.Repo {
	q.t.Helper()
	r, err := archive.Open(context.Background(), q.location)
	if err != nil {
		q.t.Fatal(err)
	}
	return r
}

func named(first, last int) (names []string) {
	for number := first; number <= last; number++ {
		names = append(names, segmentName(number))
	}
	return names
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// A repository goes away for long and comes back.
func TestQueueOverAnOutage(t *testing.T) {
	q := newQueue(t)
	q.wait(1, 12)
	if err := q.archive(named(1, 4)...); err != nil {
		t.Fatal(err)
	}
	q.away(true)
	q.restart()
	if err := q.archive(named(5, 8)...); err != nil { // 8, 7, 6, 5 wait
		t.Fatal(err)
	}
	same(t, "dropped", q.records(), named(5, 8))
	if err := q.archive(segmentName(9)); err == nil { // 4 are allowed
		t.Error("dropped what had room")
	}
	if len(q.warned) != 4 || !strings.Contains(q.warned[0], segmentName(5)) || !strings.Contains(q.warned[0], "DROPPED") ||
		!strings.Contains(q.warned[0], "8 segments wait") || !strings.Contains(q.warned[0], "base backup") {
		t.Errorf("warned: %q", q.warned)
	}
	q.away(false)
	q.restart()
	if err := q.archive(named(9, 12)...); err != nil {
		t.Fatal(err)
	}
	same(t, "records", q.records(), nil)
	r := q.repo()
	key := layout.Gap + segmentName(5) + "-" + segmentName(8)
	same(t, "gaps", repository.Keys(t, r, layout.Gap), []string{key})
	text, err := os.ReadFile(filepath.Join(q.location, key))
	if err != nil || !strings.HasPrefix(string(text), "pgpipes-gap\t1\n") || !strings.Contains(string(text), "no such file") {
		t.Errorf("%v\n%s", err, text)
	}
	for number := 1; number <= 12; number++ {
		_, _, err := get(t, &repository.Cluster, segmentName(number), q.location)
		dropped := number >= 5 && number <= 8
		if dropped != errors.Is(err, archive.ErrHole) || !dropped && err != nil {
			t.Errorf("%d: %v", number, err)
		}
		if want := "(4 segments, " + segmentName(5) + " to " + segmentName(8) + "): recovery cannot go past it"; dropped && !strings.Contains(err.Error(), want) {
			t.Errorf("%d: %v, want %q", number, err, want)
		}
	}
	if _, _, err := get(t, &repository.Cluster, segmentName(13), q.location); !errors.Is(err, store.ErrNotExist) {
		t.Error(err)
	}
}

// Nothing after the gap is there yet: the end of the log is no honest end.
func TestGapAtTheEnd(t *testing.T) {
	q := newQueue(t)
	q.wait(1, 6)
	if err := q.archive(segmentName(1)); err != nil {
		t.Fatal(err)
	}
	q.away(true)
	if err := q.archive(segmentName(2)); err != nil {
		t.Fatal(err)
	}
	q.away(false)
	q.guard.Reached(context.Background(), q.repo()) // and is killed
	if _, _, err := get(t, &repository.Cluster, segmentName(2), q.location); !errors.Is(err, archive.ErrHole) || errors.Is(err, store.ErrNotExist) {
		t.Error(err)
	}
	if _, _, err := get(t, &repository.Cluster, segmentName(3), q.location); !errors.Is(err, store.ErrNotExist) {
		t.Error(err)
	}
	// Pushed by hand after all.
	fixture.Archive(t, q.repo().Location, plain, segmentName(2))
	if _, _, err := get(t, &repository.Cluster, segmentName(2), q.location); err != nil {
		t.Error(err)
	}
	c, err := q.repo().Coverage(context.Background())
	if err != nil || len(c.Gaps) != 1 {
		t.Fatal(c.Gaps, err)
	}
	if open, err := q.repo().OpenGaps(context.Background(), c); err != nil || len(open) != 0 {
		t.Error(open, err)
	}
}

// What the guard must not take for a reason to drop anything.
func TestQueueKeeps(t *testing.T) {
	other := fixture.Segment{Name: segmentName(1), Seed: 1}.Bytes()
	for what, test := range map[string]struct {
		prepare func(q *queued)
		name    string
		want    string // of the error
	}{
		"it is not asked to":         {func(q *queued) { q.away(true); q.guard.Max = 0 }, segmentName(1), "no such file"},
		"there is room":              {func(q *queued) { q.away(true); q.guard.Max = 6 * int64(mib) }, segmentName(1), "no such file"},
		"other contents are there":   {func(q *queued) { q.repoWith(segmentName(1), other) }, segmentName(1), "different contents"},
		"a damaged copy is there":    {func(q *queued) { q.repoWith(segmentName(1), nil) }, segmentName(1), "already in the repository"},
		"another cluster's":          {func(q *queued) { q.foreign() }, segmentName(1), "another cluster"},
		"a newer format":             {func(q *queued) { q.identity("pgpipes-repository\t2\n") }, segmentName(1), "unknown repository format"},
		"a damaged identity":         {func(q *queued) { q.identity("") }, segmentName(1), "damaged"},
		"no kind of location":        {func(q *queued) { q.location = "ftp://x/y" }, segmentName(1), "not a repository location"},
		"nobody waits for the file":  {func(q *queued) { q.away(true); q.forget(segmentName(1)) }, segmentName(1), "no such file"},
		"no server's directory":      {func(q *queued) { q.away(true); q.forget("") }, segmentName(1), "no such file"},
		"no state directory":         {func(q *queued) { q.away(true); q.guard.State = nil }, segmentName(1), ErrUnrecorded.Error()},
		"the state is unwritable":    {func(q *queued) { q.away(true); q.blockState() }, segmentName(1), ErrUnrecorded.Error()},
		"a timeline history":         {func(q *queued) { q.away(true) }, "00000002.history", "no such file"},
		"notes of a backup":          {func(q *queued) { q.away(true) }, segmentName(1) + ".00000028.backup", "no such file"},
		"not all of them are nobody": {func(q *queued) { q.away(true); q.noise() }, segmentName(1), "no such file"},
	} {
		t.Run(what, func(t *testing.T) {
			q := newQueue(t)
			q.wait(1, 6)
			if err := q.archive(segmentName(6)); err != nil { // makes the repository; 5 wait
				t.Fatal(err)
			}
			for file, contents := range map[string]string{"00000002.history": fork2, segmentName(1) + ".00000028.backup": backupHistory} {
				if err := os.WriteFile(filepath.Join(q.pgWAL, file), []byte(contents), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(q.status(file, ".ready"), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			test.prepare(q)
			if err := q.push(test.name, q.location); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
			if q.records() != nil || q.warned != nil {
				t.Errorf("recorded %q, warned %q", q.records(), q.warned)
			}
		})
	}
}

func (q *queued) repoWith(s string, contents []byte) {
	fixture.Place(q.t, q.repo().Location, layout.WALKey(fixture.Name(q.t, s)), contents)
}

func (q *queued) identity(text string) {
	fixture.Place(q.t, q.repo().Location, layout.Identity, []byte(text))
}

func (q *queued) foreign() {
	r := q.repo()
	r.SystemID++
	q.identity(r.Identity.String())
}

// forget makes a file one that no server waits for; "" for all.
func (q *queued) forget(s string) {
	if s != "" {
		s = filepath.Base(q.status(s, ".ready"))
	}
	if err := os.RemoveAll(filepath.Join(q.pgWAL, "archive_status", s)); err != nil {
		q.t.Fatal(err)
	}
}

func (q *queued) blockState() {
	if err := os.WriteFile(filepath.Join(q.state, "gap"), nil, 0o600); err != nil {
		q.t.Fatal(err)
	}
	q.t.Cleanup(func() { _ = os.Remove(filepath.Join(q.state, "gap")) })
}

// noise leaves four segments that wait, and much that is none.
func (q *queued) noise() {
	q.forget(segmentName(5))
	for _, s := range []string{
		segmentName(7) + ".done", "00000009.history.ready", segmentName(7) + ".00000028.backup.ready", "lost+found", ".ready",
		segmentName(7), segmentName(7) + ".ready.ready", "00000001000000000000000g.ready", "x.ready",
	} {
		if err := os.WriteFile(filepath.Join(q.pgWAL, "archive_status", s), nil, 0o600); err != nil {
			q.t.Fatal(err)
		}
	}
}

// What is wrong with a repository when it cannot take anything.
func TestUnable(t *testing.T) {
	const file = "pg_wal/000000010000000000000005"
	late := &lateness{}
	timed, cancelTimed := context.WithCancelCause(context.Background())
	cancelTimed(late)
	killed, cancelKilled := context.WithCancel(context.Background())
	cancelKilled()
	for _, test := range []struct {
		ctx  context.Context
		err  error
		want bool
	}{
		{nil, &fs.PathError{Op: "write", Path: "/r/wal/x", Err: unix.ENOSPC}, true},
		{nil, fmt.Errorf("/r: %w", &fs.PathError{Op: "fsync", Path: "/r/wal/x", Err: unix.EIO}), true},
		{nil, unix.ESTALE, true},
		{nil, &os.LinkError{Op: "link", Old: "/r/a", New: "/r/b", Err: unix.EDQUOT}, true},
		{nil, fmt.Errorf("%w (no file pgpipes)", archive.ErrNoRepository), true},
		{nil, context.DeadlineExceeded, true},
		{nil, late, true},
		{timed, fmt.Errorf("/r: %w", context.Canceled), true},
		{killed, fmt.Errorf("/r: %w", context.Canceled), false},
		{nil, context.Canceled, false},
		{nil, &fs.PathError{Op: "read", Path: file, Err: unix.EIO}, false},
		{nil, &fs.PathError{Op: "open", Path: "/r/wal/x", Err: unix.EMFILE}, false},
		{nil, unix.ENOMEM, false},
		{nil, errors.New("shrank from 2 to 1 bytes while it was read"), false},
		{nil, store.ErrDiffers, false},
		{nil, errors.Join(unix.EIO, store.ErrDiffers), false},
		{nil, archive.ErrForeign, false},
		{nil, archive.ErrDamaged, false},
		{nil, store.ErrLocation, false},
	} {
		if test.ctx == nil {
			test.ctx = context.Background()
		}
		if got := unable(test.ctx, test.err, file); got != test.want {
			t.Errorf("%v: %v", test.err, got)
		}
	}
}

type lateness struct{}

func (*lateness) Error() string { return "writing took longer than 1m" }
func (*lateness) Timeout() bool { return true }

// Of several repositories those that can take it have it, and one that is wrong
// in another way keeps it from being dropped.
func TestQueueOfSeveral(t *testing.T) {
	q := newQueue(t)
	q.wait(1, 6)
	if err := q.archive(segmentName(6)); err != nil {
		t.Fatal(err)
	}
	q.away(true)
	good, bad := repository.New(t), repository.New(t)
	down := filepath.Join(t.TempDir(), "not", "there")
	fixture.Place(t, bad.Location, layout.WALKey(fixture.Name(t, segmentName(1))), nil)
	if err := q.push(segmentName(1), q.location, bad.Location, good.Location); err == nil || q.records() != nil {
		t.Errorf("%v; recorded %q", err, q.records())
	}
	if err := q.push(segmentName(2), q.location, good.Location, down); err != nil {
		t.Fatal(err)
	}
	same(t, "dropped", q.records(), []string{segmentName(2), segmentName(2)})
	if len(q.warned) != 2 || !strings.Contains(q.warned[0], q.location) || !strings.Contains(q.warned[1], down) {
		t.Errorf("warned: %q", q.warned)
	}
	q.away(false)
	if _, _, err := get(t, &repository.Cluster, segmentName(2), q.location, good.Location); err != nil {
		t.Error(err)
	}
	q.guard.Reached(context.Background(), good)
	same(t, "gaps", repository.Keys(t, good, layout.Gap), nil)
	q.guard.Reached(context.Background(), q.repo())
	same(t, "gaps", repository.Keys(t, q.repo(), layout.Gap), []string{layout.Gap + segmentName(2) + "-" + segmentName(2)})
	same(t, "records left", q.records(), []string{segmentName(2)})

	// The second record cannot be written: the first is taken back.
	q.away(true)
	d, err := dropsOf(q.guard.State, repository.Cluster.SystemID)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.of(down+"2"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := q.push(segmentName(3), q.location, down+"2"); !errors.Is(err, ErrUnrecorded) {
		t.Error(err)
	}
	same(t, "records left", q.records(), []string{segmentName(2)})
}

func TestQueueDropsAPartial(t *testing.T) {
	q := newQueue(t)
	q.wait(1, 6)
	if err := q.archive(named(1, 1)...); err != nil {
		t.Fatal(err)
	}
	q.offer(segmentName(2) + ".partial")
	q.away(true)
	if err := q.archive(segmentName(2) + ".partial"); err != nil {
		t.Fatal(err)
	}
	q.away(false)
	q.guard.Reached(context.Background(), q.repo())
	r := q.repo()
	same(t, "gaps", repository.Keys(t, r, layout.Gap), []string{layout.Gap + segmentName(2) + ".partial-" + segmentName(2) + ".partial"})
	if _, _, err := get(t, nil, segmentName(2)+".partial", q.location); !errors.Is(err, archive.ErrHole) {
		t.Error(err)
	}
	if _, _, err := get(t, nil, segmentName(2), q.location); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("the segment itself: %v", err)
	}
	c, err := r.Coverage(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if open, err := r.OpenGaps(context.Background(), c); err != nil || len(open) != 1 {
		t.Error(open, err)
	}
	fixture.Archive(t, r.Location, plain, segmentName(2)+".partial")
	if open, err := r.OpenGaps(context.Background(), c); err != nil || len(open) != 0 {
		t.Error(open, err)
	}
}

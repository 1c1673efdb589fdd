package push

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgpipes/lib/archive"
	"pgpipes/lib/layout"
	"pgpipes/lib/note"
	"pgpipes/test/fixture"
	"pgpipes/test/repository"
)

// outage drops some of the segments that wait.
func (q *queued) outage(names ...string) {
	q.t.Helper()
	q.away(true)
	for _, s := range names {
		if err := q.push(s, q.location); err != nil {
			q.t.Fatal(err)
		}
	}
	q.away(false)
}

func (q *queued) settled(r *archive.Repo) []string {
	q.t.Helper()
	q.guard.Reached(context.Background(), r)
	return repository.Keys(q.t, r, layout.Gap)
}

func gapKey(first, last int) string { return layout.Gap + segmentName(first) + "-" + segmentName(last) }

// newRepoQueue is a queue over an empty repository.
func newRepoQueue(t *testing.T) *queued {
	t.Helper()
	q := newQueue(t)
	if _, err := archive.OpenFor(context.Background(), q.location, repository.Cluster); err != nil {
		t.Fatal(err)
	}
	q.wait(1, 12)
	return q
}

func TestSettleMakesRuns(t *testing.T) {
	q := newRepoQueue(t)
	next := []string{mib.Name(1, 0xFFF), mib.Name(1, 0x1000), mib.Name(2, 0x1001), segmentName(8) + ".partial"} // a change of the middle digits
	for _, s := range next {
		q.offer(s)
	}
	q.outage(append(append(append(named(2, 4), segmentName(6)), named(8, 9)...), next...)...)
	same(t, "gaps", q.settled(q.repo()), []string{
		gapKey(2, 4), gapKey(6, 6), layout.Gap + segmentName(8) + "-" + segmentName(9),
		layout.Gap + segmentName(8) + ".partial-" + segmentName(8) + ".partial",
		layout.Gap + next[0] + "-" + next[1], layout.Gap + next[2] + "-" + next[2],
	})
	same(t, "records", q.records(), nil)
}

// Killed anywhere on the way, nothing is lost.
func TestSettleKilled(t *testing.T) {
	for what, test := range map[string]struct {
		prepare func(q *queued, dir string)
		open    string // what is missing then
	}{
		"after the gap was written": {func(q *queued, dir string) {
			kept := map[string][]byte{}
			for _, s := range q.records() {
				kept[s], _ = os.ReadFile(filepath.Join(dir, s))
			}
			q.settled(q.repo())
			for s, text := range kept {
				if err := os.WriteFile(filepath.Join(dir, s), text, 0o600); err != nil {
					q.t.Fatal(err)
				}
			}
		}, gapKey(2, 6)},
		"between the records": {func(q *queued, dir string) {
			kept, _ := os.ReadFile(filepath.Join(dir, segmentName(5)))
			last, _ := os.ReadFile(filepath.Join(dir, segmentName(6)))
			q.settled(q.repo())
			for s, text := range map[string][]byte{segmentName(5): kept, segmentName(6): last} {
				if err := os.WriteFile(filepath.Join(dir, s), text, 0o600); err != nil {
					q.t.Fatal(err)
				}
			}
		}, gapKey(2, 6)},
		"the gap has other words": {func(q *queued, _ string) {
			fixture.Place(q.t, q.repo().Location, gapKey(2, 6), []byte("pgpipes-gap\t1\n"))
		}, gapKey(2, 6)},
		"the gap is empty": {func(q *queued, _ string) { fixture.Place(q.t, q.repo().Location, gapKey(2, 6), nil) }, gapKey(2, 6)},
		"a part of it was written": {func(q *queued, _ string) {
			fixture.Place(q.t, q.repo().Location, gapKey(2, 3), nil)
			fixture.Place(q.t, q.repo().Location, gapKey(5, 6), nil)
		}, gapKey(2, 6)},
		"more was dropped since": {func(q *queued, _ string) {
			q.settled(q.repo())
			q.outage(segmentName(7))
		}, gapKey(2, 6) + " " + gapKey(7, 7)},
		"records are damaged": {func(q *queued, dir string) {
			for _, s := range []string{segmentName(3), segmentName(4)} {
				if err := os.WriteFile(filepath.Join(dir, s), []byte("pgpipes-d"), 0o600); err != nil {
					q.t.Fatal(err)
				}
			}
		}, gapKey(2, 6)},
	} {
		t.Run(what, func(t *testing.T) {
			q := newRepoQueue(t)
			q.outage(named(2, 6)...)
			d, err := dropsOf(q.guard.State, repository.Cluster.SystemID)
			if err != nil {
				t.Fatal(err)
			}
			test.prepare(q, d.of(q.location))
			q.restart()
			q.settled(q.repo())
			same(t, "records", q.records(), nil)
			c, err := q.repo().Coverage(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			open, err := q.repo().OpenGaps(context.Background(), c)
			var found []string
			for _, g := range open {
				found = append(found, layout.Gap+g.String())
			}
			if got := strings.Join(found, " "); err != nil || got != test.open {
				t.Errorf("open: %s, %v; want %s", got, err, test.open)
			}
			gaps, err := q.repo().Gaps(context.Background())
			for number := 2; number <= 6; number++ {
				n := fixture.Name(t, segmentName(number))
				if err != nil || !slices.ContainsFunc(gaps, func(g archive.Gap) bool { return g.Holds(n) }) {
					t.Errorf("%d: %v, %v", number, gaps, err)
				}
			}
			if len(q.warned) > 6 {
				t.Errorf("warned: %q", q.warned)
			}
		})
	}
}

// The repository cannot take the record: that stays, and there is a warning.
func TestSettleFails(t *testing.T) {
	q := newRepoQueue(t)
	q.outage(segmentName(2))
	q.warned = nil
	fixture.Place(t, q.repo().Location, "gap", nil)
	q.guard.Reached(context.Background(), q.repo())
	same(t, "records", q.records(), named(2, 2))
	if len(q.warned) != 1 || !strings.Contains(q.warned[0], "not recorded there yet") {
		t.Errorf("warned: %q", q.warned)
	}
	fixture.Remove(t, q.repo().Location, "gap")
	same(t, "gaps", q.settled(q.repo()), []string{gapKey(2, 2)})
}

// Records go to the repository they are about, wherever that is now, and to no
// other.
func TestSettleWhose(t *testing.T) {
	t.Run("moved", func(t *testing.T) {
		q := newRepoQueue(t)
		q.guard.Reached(context.Background(), q.repo()) // it is known
		q.outage(segmentName(2))
		moved := filepath.Join(t.TempDir(), "r")
		if err := os.Rename(q.location, moved); err != nil {
			t.Fatal(err)
		}
		q.location = moved
		same(t, "gaps", q.settled(q.repo()), []string{gapKey(2, 2)})
	})
	t.Run("exchanged", func(t *testing.T) {
		q := newRepoQueue(t)
		q.guard.Reached(context.Background(), q.repo())
		old := q.location + ".old"
		q.outage(segmentName(2))
		if err := os.Rename(q.location, old); err != nil {
			t.Fatal(err)
		}
		other, err := archive.OpenFor(context.Background(), q.location, repository.Cluster)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "gaps of the new one", q.settled(other), nil)
		same(t, "records", q.records(), named(2, 2))
		q.location = old
		same(t, "gaps", q.settled(q.repo()), []string{gapKey(2, 2)})
		same(t, "records", q.records(), nil)
	})
	t.Run("never known", func(t *testing.T) {
		q := newQueue(t)
		q.wait(1, 6)
		q.outage(segmentName(2))
		elsewhere := repository.New(t)
		same(t, "gaps elsewhere", q.settled(elsewhere), nil)
		r, err := archive.OpenFor(context.Background(), q.location, repository.Cluster)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "gaps", q.settled(r), []string{gapKey(2, 2)})
	})
	t.Run("another cluster's state", func(t *testing.T) {
		q := newQueue(t)
		q.wait(1, 6)
		q.outage(segmentName(2))
		theirs := repository.Cluster
		theirs.SystemID++
		r, err := archive.OpenFor(context.Background(), q.location, theirs)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "gaps of the other cluster", q.settled(r), nil)
		same(t, "records", q.records(), named(2, 2))
	})
	t.Run("another segment size", func(t *testing.T) {
		q := newQueue(t)
		q.wait(1, 6)
		q.outage(segmentName(2))
		larger := repository.Cluster
		larger.SegmentSize *= 2
		r, err := archive.OpenFor(context.Background(), q.location, larger)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "gaps", q.settled(r), nil)
		same(t, "records", q.records(), named(2, 2))
	})
}

// A location is the same in every directory, and what it is remembered for is
// only a help.
func TestRelativeLocation(t *testing.T) {
	q := newRepoQueue(t)
	t.Chdir(filepath.Dir(filepath.Dir(q.location)))
	full := q.location
	q.location = filepath.Join("mount", "r")
	q.outage(segmentName(2))
	q.location = full
	t.Chdir("/")
	same(t, "gaps", q.settled(q.repo()), []string{gapKey(2, 2)})
}

func TestDropIsReadAsWritten(t *testing.T) {
	r := repository.New(t)
	odd := Outcome{Location: "/a\tb\nc", Repo: r, Err: context.DeadlineExceeded}
	d := newDrop(odd, fixture.Name(t, segmentName(2)), mib)
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, []byte(d.text()), 0o600); err != nil {
		t.Fatal(err)
	}
	got, about, err := readDrop(path, d.name, r, false)
	if err != nil || !about || got.reason != d.reason || !got.time.Equal(d.time) || got.host != d.host || got.id != r.ID {
		t.Errorf("%+v, %v, %v; want %+v", got, about, err, d)
	}
	if long := note.InLine(strings.Repeat("ä\n", 5000)); len(long) > 1100 || strings.Contains(long, "\n") {
		t.Errorf("%d bytes", len(long))
	}
}

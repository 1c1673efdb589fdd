package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgpipes/lib/codec"
	"pgpipes/lib/retain"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// logged stores the segments of a log.
func logged(t *testing.T, l *fixture.Log) *Repo {
	t.Helper()
	r := repository(t)
	for s, b := range l.Segments {
		if err := push(t, r, s, b, codec.Options{Format: codec.Zstd}); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// idle writes segments without transactions.
func idle(l *fixture.Log, segments int) {
	for range segments {
		l.Message(100)
		l.Switch()
	}
}

func TestLastCommit(t *testing.T) {
	for _, test := range []struct {
		what  string
		write func(l *fixture.Log)
		last  uint64
		want  time.Duration // after noon; 0 for none
	}{
		{"the last of several", func(l *fixture.Log) {
			l.Commit(noon.Add(5))
			l.Commit(noon.Add(time.Second))
			l.Switch()
		}, 1, time.Second},
		{"one that was rolled back", func(l *fixture.Log) { l.Commit(noon); l.Abort(noon.Add(time.Second)); l.Switch() }, 1, time.Second},
		{"before a restore point", func(l *fixture.Log) {
			l.Commit(noon.Add(time.Second))
			l.RestorePoint(noon.Add(time.Hour), "x")
			l.Switch()
		}, 1, time.Second},
		{"before idle segments", func(l *fixture.Log) { l.Commit(noon.Add(time.Second)); l.Switch(); idle(l, 15) }, 16, time.Second},
		{"before too many of them", func(l *fixture.Log) { l.Commit(noon.Add(time.Second)); l.Switch(); idle(l, 16) }, 17, 0},
		{"none", func(l *fixture.Log) { idle(l, 3) }, 3, 0},
		{"not beyond the last", func(l *fixture.Log) {
			l.Commit(noon.Add(time.Second))
			l.Switch()
			l.Commit(noon.Add(time.Hour))
			l.Switch()
		}, 1, time.Second},
		{"across a border", func(l *fixture.Log) {
			l.Commit(noon)
			l.FillTo(wal.LSN(2*mib - 16))
			l.Commit(noon.Add(time.Second))
			l.Switch()
		}, 2, time.Second},
		{"across a border that is not reached", func(l *fixture.Log) {
			l.Commit(noon.Add(time.Second))
			l.FillTo(wal.LSN(2*mib - 16))
			l.Commit(noon.Add(time.Hour))
			l.Switch()
		}, 1, time.Second},
	} {
		l := fixture.NewLog(1, mib, 1)
		test.write(l)
		at, found, err := logged(t, l).LastCommit(context.Background(), 1, 1, test.last)
		if err != nil || found != (test.want != 0) || found && !at.Equal(noon.Add(test.want)) {
			t.Errorf("%s: %s, %t, %v", test.what, at, found, err)
		}
	}
}

// A segment that cannot be read is an error that names it.
func TestLastCommitOfWhatIsDamaged(t *testing.T) {
	l := fixture.NewLog(1, mib, 1)
	l.Commit(noon)
	l.FillTo(wal.LSN(2 * mib))
	l.Message(100)
	l.Switch()
	for _, test := range []struct {
		what   string
		change func(r *Repo, good []byte)
		is     error
		want   string
	}{
		{"a bit", func(r *Repo, good []byte) {
			good[60] ^= 1
			r.place(t, "wal/0000000100000000/000000010000000000000002", good)
		}, ErrDamaged, "wal/0000000100000000/000000010000000000000002: damaged in the repository: record at 0/200028: the CRC is wrong"},
		{"the header", func(r *Repo, good []byte) {
			clear(good)
			r.place(t, "wal/0000000100000000/000000010000000000000002", good)
		}, ErrDamaged, "repository: bad segment header: all zeros"},
		{"the end", func(r *Repo, good []byte) {
			r.place(t, "wal/0000000100000000/000000010000000000000002", good[:mib/2])
		}, ErrDamaged, "page at 0/280000: the file ends here"},
		{"another cluster", func(r *Repo, good []byte) {
			r.SystemID = 7
			r.place(t, "wal/0000000100000000/000000010000000000000002", good)
		}, ErrDamaged, "it is of the cluster with system identifier"},
		{"codec", func(r *Repo, good []byte) {
			r.place(t, "wal/0000000100000000/000000010000000000000002.zst", []byte("no"))
		}, ErrDamaged, "000000010000000000000002.zst"},
		{"absence", func(r *Repo, good []byte) {}, store.ErrNotExist, "000000010000000000000002"},
	} {
		r := repository(t)
		r.place(t, "wal/0000000100000000/000000010000000000000001", l.Segments["000000010000000000000001"])
		test.change(r, append([]byte(nil), l.Segments["000000010000000000000002"]...))
		_, _, err := r.LastCommit(context.Background(), 1, 1, 2)
		if !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.what, err, test.want)
		}
	}
}

// A good form of a segment serves when another is damaged.
func TestLastCommitOfOtherForm(t *testing.T) {
	l := fixture.NewLog(1, mib, 1)
	l.Commit(noon)
	l.Switch()
	r := repository(t)
	r.place(t, "wal/0000000100000000/000000010000000000000001", l.Segments["000000010000000000000001"])
	r.place(t, "wal/0000000100000000/000000010000000000000001.zst", []byte("no"))
	if at, found, err := r.LastCommit(context.Background(), 1, 1, 1); err != nil || !found || !at.Equal(noon) {
		t.Errorf("%s, %t, %v", at, found, err)
	}
}

// A counted store counts the objects that are read.
type counted struct {
	store.Store
	reads *atomic.Int64
}

func (c counted) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	c.reads.Add(1)
	return c.Store.Get(ctx, key, offset, length)
}

// A stay is where in the log a transaction ends, and when.
type stay struct {
	segment uint64
	at      time.Time
}

// Whatever the log is like, the first transaction after a time is found.
func TestFirstCommitAfter(t *testing.T) {
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 0))
		l := fixture.NewLog(1, mib, 1)
		commits := randomLog(l, random)
		last := uint64(l.At/wal.LSN(mib)) - 1
		r := logged(t, l)
		path := []retain.WALRange{{Timeline: 1, First: 1, Last: last}}
		for _, c := range commits {
			for _, at := range []time.Time{c.at, c.at.Add(-time.Microsecond)} {
				want := firstAfter(commits, at)
				tli, segment, found, err := r.FirstCommitAfter(context.Background(), at, path)
				if err != nil || found != (want != 0) || segment != want || found && tli != 1 {
					t.Fatalf("seed %d: after %s: %d, %t, %v, want segment %d of %d", seed, at, segment, found, err, want, last)
				}
			}
		}
	}
}

// randomLog writes some 20 segments: busy ones, idle ones, full ones. The times
// of transactions go astray by less than a segment with some of them takes.
func randomLog(l *fixture.Log, random *rand.Rand) []stay {
	var commits []stay
	clock := noon
	commit := func() {
		clock = clock.Add(time.Second)
		at := clock.Add(-time.Duration(random.IntN(1500)) * time.Millisecond).Truncate(time.Microsecond)
		l.Commit(at)
		commits = append(commits, stay{uint64((l.At - 1) / wal.LSN(mib)), at})
	}
	for l.At < wal.LSN(20*mib) {
		switch random.IntN(4) {
		case 0:
			idle(l, 1+random.IntN(5))
		case 1:
			commit()
			l.FillTo((l.At/wal.LSN(mib)+1)*wal.LSN(mib) - wal.LSN(8*(random.IntN(5))))
			commit()
		default:
			for range 1 + random.IntN(3) {
				commit()
			}
			l.Switch()
		}
	}
	commit()
	l.Switch()
	return commits
}

func firstAfter(commits []stay, at time.Time) uint64 {
	for _, c := range commits {
		if c.at.After(at) {
			return c.segment
		}
	}
	return 0
}

// Few segments are read of many, and none twice.
func TestFirstCommitAfterReadsLittle(t *testing.T) {
	const n = 100
	l := fixture.NewLog(1, mib, 1)
	for i := range n {
		l.Commit(noon.Add(time.Duration(i) * time.Minute))
		l.Switch()
	}
	r := logged(t, l)
	var reads atomic.Int64
	r.Store = counted{r.Store, &reads}
	for _, want := range []uint64{1, 2, 50, 77, n} {
		reads.Store(0)
		at := noon.Add(time.Duration(want-1)*time.Minute - time.Second)
		_, got, found, err := r.FirstCommitAfter(context.Background(), at, []retain.WALRange{{Timeline: 1, First: 1, Last: n}})
		if err != nil || !found || got != want {
			t.Errorf("%d, %t, %v, want %d", got, found, err, want)
		}
		if reads.Load() > 7+enoughBusy {
			t.Errorf("%d of %d segments were read", reads.Load(), n)
		}
	}
}

// The path follows the log from timeline to timeline.
func TestFirstCommitAfterOnBranch(t *testing.T) {
	l := fixture.NewLog(1, mib, 1)
	for i := range 6 {
		l.Commit(noon.Add(time.Duration(2*i) * time.Minute))
		if i == 3 {
			l.Branch(2)
			l.Commit(noon.Add(7 * time.Minute))
		}
		l.Switch()
	}
	delete(l.Segments, "000000010000000000000004")
	r := logged(t, l)
	path := []retain.WALRange{{Timeline: 1, First: 1, Last: 3}, {Timeline: 2, First: 4, Last: 6}}
	for after, want := range map[time.Duration]string{
		-time.Minute:           "000000010000000000000001",
		3 * time.Minute:        "000000010000000000000003",
		4 * time.Minute:        "000000020000000000000004",
		6 * time.Minute:        "000000020000000000000004",
		7 * time.Minute:        "000000020000000000000005",
		9 * time.Minute:        "000000020000000000000006",
		9*time.Minute + 59*1e9: "000000020000000000000006",
		10 * time.Minute:       "",
	} {
		tli, segment, found, err := r.FirstCommitAfter(context.Background(), noon.Add(after), path)
		got := ""
		if found {
			got = mib.Name(tli, segment)
		}
		if err != nil || got != want {
			t.Errorf("after %s: %q, %v, want %q", after, got, err, want)
		}
	}
}

// Without segments nothing is found, and one that is missing is an error.
func TestFirstCommitAfterWithout(t *testing.T) {
	r := repository(t)
	if _, _, found, err := r.FirstCommitAfter(context.Background(), noon, nil); found || err != nil {
		t.Errorf("%t, %v", found, err)
	}
	_, _, _, err := r.FirstCommitAfter(context.Background(), noon, []retain.WALRange{{Timeline: 1, First: 1, Last: 1}})
	if !errors.Is(err, store.ErrNotExist) || !strings.Contains(fmt.Sprint(err), "000000010000000000000001") {
		t.Errorf("%v", err)
	}
}

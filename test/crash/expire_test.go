package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pgpipes/lib/durable"
	"pgpipes/test/fixture"
)

// aged is one of the backups of a repository in which much has to go.
type aged struct {
	fixture.Backup
	goes bool
}

// agedBackups are an increment and its parent, both of which shall go, one that
// is pinned, for which only its own WAL stays, and the newest.
var agedBackups = []aged{
	{fixture.Backup{Label: "full", First: 1, Last: 2, Stop: agedDay(1)}, true},
	{fixture.Backup{Label: "increment", Parent: "full", First: 3, Last: 3, Stop: agedDay(2)}, true},
	{fixture.Backup{Label: "pinned", First: 5, Last: 5, Stop: agedDay(3)}, false},
	{fixture.Backup{Label: "new", First: 9, Last: 9, Stop: agedDay(4)}, false},
}

const (
	agedSegments  = 10
	agedHistory   = "r/wal/history/00000002.history"
	agedPin       = "r/base/pinned/keep"
	agedOrphan    = "r/base/new/001.tar.zst"
	agedRestore   = "r/restore/20201122T100000Z-db2-1"
	agedHole      = "r/hole/000000010000000000000006-000000010000000000000008"
	agedTemporary = "r/wal/0000000100000000/" + durable.TemporaryPrefix + "X.tmp"
)

func agedDay(n int) time.Time { return time.Date(2020, 11, 20+n, 10, 0, 0, 0, time.UTC) }

func agedSegment(n uint64) string {
	return fmt.Sprintf("r/wal/0000000100000000/0000000100000000%08X.zst", n)
}

// aging is that repository.
var aging = func() map[string][]byte {
	files := map[string][]byte{
		"r/pgpipes": identity, agedHistory: []byte("1\t0/A00100\tno recovery target specified\n"), agedPin: []byte("the audit\n"),
		agedOrphan: []byte("of a try that failed"), agedTemporary: nil,
		agedRestore: []byte("pgpipes-restoring\t1\nbackup\tfull\nhost\tdb2\ntime\t2020-11-22T10:00:00Z\nuntil\t2020-11-24T10:00:00Z\n"),
	}
	for n := range uint64(agedSegments) {
		files[agedSegment(n+1)] = nil
	}
	for _, b := range agedBackups {
		objects, err := b.Files()
		if err != nil {
			panic(err)
		}
		for name, contents := range objects {
			files["r/base/"+b.Label+"/"+name] = contents
		}
		start := fmt.Sprintf("host\tx\ntimeline\t1\nstart-lsn\t0/%X00028\ntime\t%s\n", b.First, b.Stop.Format(time.RFC3339))
		if b.Parent != "" {
			start += "parent\t" + b.Parent + "\n"
		}
		files["r/base/"+b.Label+"/start"] = []byte(start)
	}
	return files
}()

// old makes what goes by its age old enough: that is also what a removal has left
// that was cut short.
func old(dir string) error {
	for name := range aging {
		if strings.HasPrefix(name, "r/base/") || name == agedTemporary {
			if err := os.Chtimes(filepath.Join(dir, name), agedDay(1), agedDay(1)); err != nil {
				return err
			}
		}
	}
	return nil
}

// restorable holds if a backup that has its manifest has everything else, nothing
// of those that stay is gone, and WAL between them is gone only as is on record.
func restorable(dir string) error {
	there := func(name string) bool { return exists(filepath.Join(dir, name)) }
	needs := []string{agedHistory, agedPin}
	for _, b := range agedBackups {
		mark := "r/base/" + b.Label + "/manifest"
		if b.goes && !there(mark) {
			continue
		}
		needs = append(needs, mark, "r/base/"+b.Label+"/000.tar")
		if b.Parent != "" {
			needs = append(needs, "r/base/"+b.Parent+"/000.tar", "r/base/"+b.Parent+"/manifest")
		}
		for n := b.First; n <= b.Last; n++ {
			needs = append(needs, agedSegment(n))
		}
	}
	for n := uint64(9); n <= agedSegments; n++ { // from the newest on all is promised
		needs = append(needs, agedSegment(n))
	}
	for n := uint64(6); n <= 8; n++ {
		if !there(agedSegment(n)) {
			needs = append(needs, agedHole)
		}
	}
	for _, name := range needs {
		if !there(name) {
			return fmt.Errorf("%s is missing", name)
		}
	}
	return wholeHole(dir)
}

// wholeHole holds if the record of the hole says who and why, if it is there.
func wholeHole(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, agedHole))
	if err == nil && !(strings.HasPrefix(string(text), "pgpipes-accepted-hole\t1\n") && strings.HasSuffix(string(text), "\nby\texpire\nreason\texpire --wal-keep backup\n")) {
		return fmt.Errorf("%s: %q", agedHole, text)
	}
	return nil
}

// expired holds when all is gone that shall go.
func expired(dir string) error {
	gone := []string{agedOrphan, agedRestore, agedTemporary}
	for _, name := range []string{"manifest", "000.tar", "start"} {
		gone = append(gone, "r/base/full/"+name, "r/base/increment/"+name)
	}
	for _, n := range []uint64{1, 2, 3, 4, 6, 7, 8} {
		gone = append(gone, agedSegment(n))
	}
	for _, name := range gone {
		if exists(filepath.Join(dir, name)) {
			return fmt.Errorf("%s is still there", name)
		}
	}
	return nil
}

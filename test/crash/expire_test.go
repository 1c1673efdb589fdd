package crash

import (
	"fmt"
	"path/filepath"
	"time"

	"pgpipes/test/fixture"
)

// aging is a repository with two backups, of which the older shall go with the
// WAL that only it needs.
var aging = func() map[string][]byte {
	files := map[string][]byte{"r/pgpipes": identity, "r/base/old/start": []byte("host\tx\ntimeline\t1\nstart-lsn\t0/100028\ntime\t2020-11-21T10:00:00Z\n")}
	for i := 1; i <= 4; i++ {
		files[agingSegment(i)] = nil
	}
	for i, label := range []string{"old", "new"} {
		b := fixture.Backup{Label: label, First: uint64(1 + 2*i), Last: uint64(1 + 2*i), Stop: time.Date(2020, 11, 21+i, 10, 0, 0, 0, time.UTC)}
		objects, err := b.Files()
		if err != nil {
			panic(err)
		}
		for name, contents := range objects {
			files["r/base/"+label+"/"+name] = contents
		}
	}
	return files
}()

func agingSegment(i int) string {
	return fmt.Sprintf("r/wal/0000000100000000/00000001000000000000000%d.zst", i)
}

// restorable holds if a backup that has its manifest has everything else, and
// nothing of the newer one is gone.
func restorable(dir string) error {
	needs := map[string][]string{
		"new": {"r/base/new/manifest", "r/base/new/000.tar", agingSegment(3), agingSegment(4)},
		"old": {"r/base/old/000.tar", agingSegment(1), agingSegment(2)},
	}
	for label, files := range needs {
		if label == "old" && !exists(filepath.Join(dir, "r/base/old/manifest")) {
			continue
		}
		for _, name := range files {
			if !exists(filepath.Join(dir, name)) {
				return fmt.Errorf("the backup %s is listed, without %s", label, name)
			}
		}
	}
	return nil
}

// expired holds when all is gone that shall go.
func expired(dir string) error {
	for _, name := range []string{"r/base/old/manifest", "r/base/old/000.tar", "r/base/old/start", agingSegment(1), agingSegment(2)} {
		if exists(filepath.Join(dir, name)) {
			return fmt.Errorf("%s is still there", name)
		}
	}
	return nil
}

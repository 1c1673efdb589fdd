package crash

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"pgpipes/test/fixture"
)

var baseStream = func() []byte {
	b, err := fixture.BaseStream()
	if err != nil {
		panic(err)
	}
	return b
}()

// startable holds for a data directory that no server would start, and for one
// that is whole.
func startable(dir string) error {
	if !exists(filepath.Join(dir, "new/global/pg_control")) {
		return nil
	}
	return restored(dir)
}

// restored holds for a whole data directory.
func restored(dir string) error {
	for _, f := range fixture.BaseFiles {
		path := filepath.Join(dir, "new", f.Name)
		if f.Name[len(f.Name)-1] == '/' {
			if info, err := os.Stat(path); err != nil || !info.IsDir() {
				return fmt.Errorf("%s: %w", f.Name, errors.Join(err, errors.New("no directory")))
			}
			continue
		}
		b, err := os.ReadFile(path)
		if err = errors.Join(err, same(f.Contents)(b)); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

package restore

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"pgpipes/lib/manifest"
	"pgpipes/test/fixture"
)

// Where syncfs cannot be relied on, everything in the list is opened and
// synced, in the tablespaces too.
func TestSyncEach(t *testing.T) {
	one, two, dir := t.TempDir(), t.TempDir(), t.TempDir()
	tar := fixture.SpaceBackup(t, one, two)
	list := manifestOf(t, tar)
	mustRestore(t, tar, Options{Dir: dir, Manifest: bytes.NewReader(list)})
	data := &target{path: dir}
	space := &target{path: one, oid: 16384}
	other := &target{path: two, oid: 16385}
	all := &targets{data: data, spaces: map[uint32]*target{16384: space, 16385: other}, all: []*target{space, other, data}}
	defer all.close()
	for _, one := range all.all {
		if err := one.openRoot(); err != nil {
			t.Fatal(err)
		}
	}
	sync := func() error {
		entries, err := manifest.NewReader(bytes.NewReader(list))
		if err != nil {
			t.Fatal(err)
		}
		return all.syncEach(entries)
	}
	if err := sync(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(two + "/PG_15_202209061/5/16400"); err != nil {
		t.Fatal(err)
	}
	if err := sync(); err == nil || !strings.Contains(err.Error(), "16400") {
		t.Errorf("a file that is not there was synced: %v", err)
	}
}

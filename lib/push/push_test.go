package push

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"pgpipes/lib/archive"
	"pgpipes/test/fixture"
	"pgpipes/test/repository"
)

// One repository that fails does not keep the file from the others.
func TestPushToSeveral(t *testing.T) {
	a, b := repository.New(t), repository.New(t)
	down := filepath.Join(t.TempDir(), "not/mounted")
	contents := fixture.Segment{Name: three}.Bytes()
	if err := pushed(t, &repository.Cluster, three, contents, plain, a.Location, down, b.Location); err == nil || !strings.Contains(err.Error(), down) {
		t.Errorf("%v", err)
	}
	for _, r := range []*archive.Repo{a, b} {
		if got, _, err := get(t, &repository.Cluster, three, r.Location); err != nil || !bytes.Equal(got, contents) {
			t.Error(err)
		}
	}
}

func TestPushWithoutACluster(t *testing.T) {
	location := filepath.Join(t.TempDir(), "r")
	err := pushed(t, nil, "00000002.history", []byte(fork2), plain, location)
	if !errors.Is(err, archive.ErrNoRepository) {
		t.Error(err)
	}
	r := repository.New(t)
	err = pushed(t, nil, "00000002.history", []byte(fork2), plain, r.Location)
	if err != nil {
		t.Error(err)
	}
}

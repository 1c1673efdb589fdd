package backup

import (
	"errors"
	"testing"

	"pgpipes/lib/manifest"
	"pgpipes/lib/store"
	"pgpipes/test/fixture"
)

// A backup has not the label of its parent, also where both begin in one second
// and no repository is asked.
func TestClaimBesideParent(t *testing.T) {
	label := fixture.BackupTime.UTC().Format(labelLayout)
	h := manifest.Header{Label: label, Parent: label, StartTime: fixture.BackupTime}
	c := &copier{header: h, outlet: &outlet{}}
	if err := c.claim(t.Context()); err != nil || c.header.Label <= label || c.outlet.label != c.header.Label {
		t.Error(err, c.header.Label, c.outlet.label)
	}
	c = &copier{o: CopyOptions{Label: label}, header: h}
	if err := c.claim(t.Context()); !errors.Is(err, store.ErrDiffers) {
		t.Error(err)
	}
}

package archive_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/layout"
	"pgpipes/test/fixture"
	"pgpipes/test/repository"
)

// A header says nothing of what follows it: only who reads to the last line sees
// that it is damaged. Both say where, and once that it is damage.
func TestManifestReadToItsEnd(t *testing.T) {
	files, err := fixture.Backup{Label: "b", First: 1, Last: 1, Stop: time.Now()}.Files()
	if err != nil {
		t.Fatal(err)
	}
	whole := files["manifest"]
	tests := map[string]struct {
		text         []byte
		header, rest string
	}{
		"whole":   {whole, "", ""},
		"cut":     {whole[:len(whole)-20], "", "the manifest is cut off"},
		"flipped": {bytes.Replace(whole, []byte("\t0600\t"), []byte("\t0640\t"), 1), "", "the hash does not match"},
		"no head": {whole[:20], "the manifest is cut off", "the manifest is cut off"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := repository.New(t)
			fixture.Place(t, r.Location, layout.BaseKey("b", layout.Manifest), test.text)
			_, err := r.Header(t.Context(), "b")
			damaged(t, "header", err, test.header)
			damaged(t, "manifest", r.VerifyManifest(t.Context(), "b"), test.rest)
		})
	}
}

func damaged(t *testing.T, what string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case want == "":
	case !errors.Is(err, archive.ErrDamaged), !strings.HasPrefix(err.Error(), "base/b/manifest: damaged in the repository: line "),
		!strings.HasSuffix(err.Error(), ": "+want):
		t.Errorf("%s: %v, want %s", what, err, want)
	}
}

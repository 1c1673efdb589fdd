package archive_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"pgpipes/lib/archive"
	"pgpipes/lib/codec"
	"pgpipes/lib/manifest"
)

// A part that cannot be read to its end is not said to be damaged, wherever the
// reading breaks off.
func TestPartThatCannotBeReadIsNotDamaged(t *testing.T) {
	var stored bytes.Buffer
	z, err := codec.NewWriter(&stored, codec.Options{Format: codec.Zstd})
	if err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	lost := errors.New("the connection was lost")
	for _, n := range []int{0, 1, 5, stored.Len() - 1} {
		body := io.MultiReader(bytes.NewReader(stored.Bytes()[:n]), iotest.ErrReader(lost))
		if err := readPart(body); !errors.Is(err, lost) || errors.Is(err, archive.ErrDamaged) {
			t.Errorf("after %d bytes: %v", n, err)
		}
		if err := readPart(bytes.NewReader(stored.Bytes()[:n])); !errors.Is(err, archive.ErrDamaged) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
}

func readPart(body io.Reader) error {
	r, err := archive.NewPartReader(io.NopCloser(body), manifest.Part{Key: "base/b/000.tar.zst"}, 1)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}

package inspect

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"path"
	"strings"
	"testing"

	"pgpipes/lib/manifest"
	"pgpipes/lib/stream"
	"pgpipes/test/fixture"
)

// What a stream holds must be what its own backup_manifest says, whatever kind
// of checksums that has.
func TestCreateManifestCompares(t *testing.T) {
	for _, algorithm := range []string{"SHA256", "CRC32C"} {
		list := fixture.WithEnd(fixture.SmallCluster(), "")
		last := &list[len(list)-1]
		for _, m := range list[:len(list)-1] {
			if algorithm == "CRC32C" && !strings.HasSuffix(m.Name, "/") {
				h, err := manifest.NewServerHash(algorithm)
				if err != nil {
					t.Fatal(err)
				}
				io.WriteString(h, m.Data)
				last.Data = fixture.ReplaceChecksum(last.Data, path.Clean(m.Name), algorithm, hex.EncodeToString(h.Sum(nil)))
			}
		}
		whole := fixture.Tar(t, list)
		manifestOf(t, whole)
		damaged := bytes.Replace(whole, []byte("xxxx"), []byte("xxyx"), 1)
		err := CreateManifest(t.Context(), bytes.NewReader(damaged), io.Discard, CreateOptions{})
		if !errors.Is(err, stream.ErrDiffers) || !strings.Contains(err.Error(), "base/1/1259: "+algorithm) {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
}

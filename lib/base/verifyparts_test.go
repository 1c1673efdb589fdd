package base

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"pgpipes/lib/manifest"
)

// differences are what VerifyParts finds in the parts on a shelf.
func (s shelf) differences(t *testing.T, list []byte) (found []string, failed error) {
	t.Helper()
	open := func(p manifest.Part) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(s[p.Name])), nil }
	all := VerifyParts(t.Context(), func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(list)), nil }, open)
	for d, err := range all {
		if err != nil {
			return found, err
		}
		found = append(found, d.String())
	}
	return found, nil
}

func TestVerifyParts(t *testing.T) {
	// What counts is in the part that the manifest names, not in the latest.
	s := shelf{
		"000":     tarOf(t, map[string]string{"./": "", "a": "of 0", "b": "of 0", "gone": "dropped meanwhile"}),
		"001":     tarOf(t, map[string]string{"a": "of 1", "c": "of 1"}),
		"old/000": tarOf(t, map[string]string{"a": "old", "b": "old", "d": "old", "backup_label": "old"}),
	}
	w := manifest.NewWriter("")
	defer w.Close()
	h := manifest.Header{Label: "b"}
	for name := range s {
		h.Parts = append(h.Parts, manifest.Part{Name: name})
	}
	for _, c := range []struct{ path, part, text string }{{"a", "001", "of 1"}, {"b", "old/000", "old"}, {"c", "001", "of 1"}, {"d", "old/000", "old"}} {
		e := manifest.Entry{Kind: manifest.File, Mode: 0o600, Owner: "u:g", Size: int64(len(c.text)), MTime: testTime, SHA256: hashOf(c.text), Part: c.part, Path: c.path}
		if err := w.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Add(manifest.Entry{Kind: manifest.Directory, Mode: 0o700, Part: "000", Path: "."}); err != nil {
		t.Fatal(err)
	}
	var list bytes.Buffer
	if err := w.Finish(&list, h); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		part string
		to   []byte
		want string // in the differences or the error
		kind error
	}{
		"nothing":         {"000", s["000"], "", nil},
		"changed":         {"old/000", tarOf(t, map[string]string{"b": "OLD", "d": "old"}), "b: sha256", nil},
		"missing":         {"001", tarOf(t, map[string]string{"a": "of 1"}), "c: missing", nil},
		"passed over":     {"old/000", tarOf(t, map[string]string{"b": "old", "d": "old", "a": "another", "e": "more"}), "", nil},
		"cut":             {"001", s["001"][:len(s["001"])-1024], "part 001: ", ErrStream},
		"of another, cut": {"old/000", s["old/000"][:700], "part old/000: ", ErrStream},
	} {
		t.Run(name, func(t *testing.T) {
			parts := shelf{"000": s["000"], "001": s["001"], "old/000": s["old/000"]}
			parts[c.part] = c.to
			found, err := parts.differences(t, list.Bytes())
			switch {
			case c.kind != nil:
				if !errors.Is(err, c.kind) || !strings.HasPrefix(err.Error(), c.want) {
					t.Errorf("error %v", err)
				}
			case err != nil || (c.want == "") != (len(found) == 0) || len(found) > 1:
				t.Errorf("%q, %v", found, err)
			case c.want != "" && !slices.ContainsFunc(found, func(d string) bool { return strings.HasPrefix(d, c.want) }):
				t.Errorf("%q", found)
			}
		})
	}
	damaged := bytes.Replace(list.Bytes(), []byte("\ta\n"), []byte("\tA\n"), 1)
	if _, err := s.differences(t, damaged); !errors.Is(err, manifest.ErrDamaged) {
		t.Errorf("error %v", err)
	}
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

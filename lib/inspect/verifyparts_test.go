package inspect

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
	"pgpipes/lib/stream"
	"pgpipes/test/fixture"
)

// differences are what VerifyParts finds in parts on a shelf, and what was wrong
// with each that could not be read.
func (s shelf) differences(t *testing.T, list []byte, parts []manifest.Part) (found []string, unread map[string]error, failed error) {
	t.Helper()
	unread = map[string]error{}
	read := 0
	all := VerifyParts(t.Context(), Reading{
		List:  func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(list)), nil },
		Parts: parts, Alone: len(s) == 1, Jobs: 2,
		Open: func(p manifest.Part) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(s[p.Name])), nil },
		Read: func(p manifest.Part, err error) {
			if read++; err != nil {
				unread[p.Name] = err
			}
		},
	})
	for d, err := range all {
		if err != nil {
			return found, unread, err
		}
		found = append(found, d.String())
	}
	if read != len(parts) {
		t.Errorf("told of %d parts", read)
	}
	return found, unread, nil
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
		e := manifest.Entry{Kind: manifest.File, Mode: 0o600, Owner: "u:g", Size: int64(len(c.text)), MTime: fixture.BackupTime, SHA256: hashOf(c.text), Part: c.part, Path: c.path}
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
		want string // in the differences
		kind error  // of the part
	}{
		"nothing":         {"000", s["000"], "", nil},
		"changed":         {"old/000", tarOf(t, map[string]string{"b": "OLD", "d": "old"}), "b: sha256", nil},
		"missing":         {"001", tarOf(t, map[string]string{"a": "of 1"}), "c: missing", nil},
		"passed over":     {"old/000", tarOf(t, map[string]string{"b": "old", "d": "old", "a": "another", "e": "more"}), "", nil},
		"cut":             {"001", s["001"][:len(s["001"])-1024], "", stream.ErrBad},
		"of another, cut": {"old/000", s["old/000"][:700], "", stream.ErrBad},
	} {
		t.Run(name, func(t *testing.T) {
			parts := shelf{"000": s["000"], "001": s["001"], "old/000": s["old/000"]}
			parts[c.part] = c.to
			found, unread, err := parts.differences(t, list.Bytes(), h.Parts)
			switch {
			case err != nil || !errors.Is(unread[c.part], c.kind) || (c.kind == nil) != (len(unread) == 0):
				t.Errorf("%v, %v", unread, err)
			case (c.want == "") != (len(found) == 0) || len(found) > 1:
				t.Errorf("%q, %v", found, err)
			case c.want != "" && !slices.ContainsFunc(found, func(d string) bool { return strings.HasPrefix(d, c.want) }):
				t.Errorf("%q", found)
			}
		})
	}
	damaged := bytes.Replace(list.Bytes(), []byte("\ta\n"), []byte("\tA\n"), 1)
	if _, _, err := s.differences(t, damaged, h.Parts); !errors.Is(err, manifest.ErrDamaged) {
		t.Errorf("error %v", err)
	}
	// Some of the parts: what is in the others is not missed.
	own := slices.DeleteFunc(slices.Clone(h.Parts), func(p manifest.Part) bool { return p.Name == "old/000" })
	if found, unread, err := s.differences(t, list.Bytes(), own); err != nil || len(found)+len(unread) > 0 {
		t.Errorf("%q, %v, %v", found, unread, err)
	}
}

// In a backup's only part nothing may be that is not listed.
func TestVerifyOnlyPart(t *testing.T) {
	want := manifestOf(t, fixture.SmallBackup(t))
	changed := fixture.WithEnd(fixture.SmallCluster(), "")
	changed[2].Data = "16\n"
	changed = slices.Delete(changed, 6, 7)
	changed[6].Name = "base/1/renamed"
	for name, c := range map[string]struct {
		tar  []byte
		want []string
	}{
		"the same": {fixture.SmallBackup(t), nil},
		"changed":  {fixture.Tar(t, changed), []string{"PG_VERSION: sha256", "base/1/empty: missing", "base/1/renamed: not in the manifest", "global: missing"}},
	} {
		found, unread, err := shelf{"000": c.tar}.differences(t, want, []manifest.Part{{Name: "000"}})
		if err != nil || len(unread) > 0 || len(found) != len(c.want) {
			t.Fatalf("%s: %q, %v, %v", name, found, unread, err)
		}
		for i, prefix := range c.want {
			if !strings.HasPrefix(found[i], prefix) {
				t.Errorf("%s: %q", name, found)
			}
		}
	}
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

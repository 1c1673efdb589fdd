package backup

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/manifest"
	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
)

var sinceHeader = manifest.Header{
	Label: "old", Type: "full", SystemID: 7, Major: 15, From: "primary", StartTimeline: 1, StartLSN: 0x1000, StopTimeline: 1, StopLSN: 0x2000,
	StartTime: fixture.BackupTime, StopTime: fixture.BackupTime.Add(time.Minute),
	Parts: []manifest.Part{{Name: "000"}, {Name: "older/003"}},
}

// testSum is a hash in hex.
var testSum = strings.Repeat("ab", 32)

// ancestorOf reads a manifest with a file a in its own part and b in another
// backup's, both modified an hour before that began.
func ancestorOf(t *testing.T, label string, h manifest.Header) *ancestor {
	t.Helper()
	w := manifest.NewWriter("")
	defer w.Close()
	for name, part := range map[string]string{"a": "000", "b": "older/003"} {
		e := manifest.Entry{Kind: manifest.File, Mode: 0o600, Size: 5, MTime: fixture.BackupTime.Add(-time.Hour), SHA256: testSum, Part: part, Path: name}
		if err := w.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := w.Finish(&b, h); err != nil {
		t.Fatal(err)
	}
	a, err := readAncestor(&b, label)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAncestorFinds(t *testing.T) {
	now := fixture.BackupTime.Add(time.Hour)
	current := manifest.Header{SystemID: 7, Major: 15, From: "primary", StartTimeline: 1, StartLSN: 0x3000}
	for _, c := range []struct {
		name          string
		change        func(h *manifest.Header, e *manifest.Entry)
		same, perhaps bool
	}{
		{"unchanged", func(*manifest.Header, *manifest.Entry) {}, true, true},
		{"another name", func(_ *manifest.Header, e *manifest.Entry) { e.Path = "c" }, false, false},
		{"another size", func(_ *manifest.Header, e *manifest.Entry) { e.Size = 6 }, false, false},
		{"another time", func(_ *manifest.Header, e *manifest.Entry) { e.MTime = e.MTime.Add(time.Second) }, false, false},
		{"another part of the second", func(_ *manifest.Header, e *manifest.Entry) { e.MTime = e.MTime.Add(time.Millisecond) }, true, true},
		{"another timeline", func(h *manifest.Header, _ *manifest.Entry) { h.StopTimeline = 2 }, false, true},
		{"behind the present", func(h *manifest.Header, _ *manifest.Entry) { h.StopLSN = 0x4000 }, false, true},
		{"the clock went back", func(h *manifest.Header, _ *manifest.Entry) { h.StopTime = now.Add(time.Second) }, false, true},
		{"modified when that began", func(h *manifest.Header, _ *manifest.Entry) { h.StartTime = fixture.BackupTime.Add(-time.Hour) }, false, true},
		{"just before that began", func(h *manifest.Header, _ *manifest.Entry) {
			h.StartTime = fixture.BackupTime.Add(-time.Hour + time.Second)
		}, false, true},
		{"taken from a standby", func(h *manifest.Header, _ *manifest.Entry) { h.From = "standby" }, false, true},
		{"interrupted", func(h *manifest.Header, _ *manifest.Entry) { h.StopTimeline, h.StopLSN, h.StopTime = 0, 0, time.Time{} }, true, true},
		{"interrupted, another timeline", func(h *manifest.Header, _ *manifest.Entry) {
			h.StartTimeline, h.StopTimeline, h.StopLSN, h.StopTime = 2, 0, 0, time.Time{}
		}, false, true},
	} {
		h := sinceHeader
		e := manifest.Entry{Path: "a", Size: 5, MTime: fixture.BackupTime.Add(-time.Hour)}
		c.change(&h, &e)
		a := ancestorOf(t, "new", h)
		if err := a.fits(current, now); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, same, perhaps := a.find(e, e.MTime, now); same != c.same || perhaps != c.perhaps {
			t.Errorf("%s: same %v, perhaps %v; want %v, %v", c.name, same, perhaps, c.same, c.perhaps)
		}
	}
}

func TestAncestorFits(t *testing.T) {
	for name, change := range map[string]func(*manifest.Header){
		"cluster": func(h *manifest.Header) { h.SystemID = 8 },
		"major":   func(h *manifest.Header) { h.Major = 16 },
		"time":    func(h *manifest.Header) { h.StartTime = time.Time{} },
		"label":   func(h *manifest.Header) { h.Label = "" },
		// complete, and not what is left of this one
		"itself": func(h *manifest.Header) { h.Label = "new" },
	} {
		h := sinceHeader
		change(&h)
		if err := ancestorOf(t, "new", h).fits(manifest.Header{SystemID: 7, Major: 15}, time.Now()); !errors.Is(err, ErrParent) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Parts of the parent get its label in front of their names; what is left of the
// same backup keeps its names, and the numbers go on behind them.
func TestAncestorParts(t *testing.T) {
	for label, want := range map[string]struct {
		parts string
		last  int
	}{"new": {"old/000 older/003", -1}, "old": {"000 older/003", 0}} {
		a := ancestorOf(t, label, sinceHeader)
		var names []string
		for _, name := range []string{"a", "b"} {
			f, _, _ := a.find(manifest.Entry{Path: name, Size: 5}, time.Now(), time.Now())
			names = append(names, a.entry(manifest.Entry{Path: name}, f).Part)
		}
		if got := strings.Join(names, " "); got != want.parts || a.lastNumber() != want.last || len(a.needed()) != 2 {
			t.Errorf("%s: %s, last %d, needs %v", label, got, a.lastNumber(), a.needed())
		}
	}
}

// A file that was replaced by one of the same size and time is not the same.
func TestReplacedFile(t *testing.T) {
	a := ancestorOf(t, "new", sinceHeader)
	a.trusted = true
	e := manifest.Entry{Path: "a", Size: 5, MTime: fixture.BackupTime.Add(-time.Hour)}
	if _, same, perhaps := a.find(e, fixture.BackupTime, time.Now()); same || !perhaps {
		t.Error("it is taken for unchanged")
	}
}

// Only parts in which something counts are needed.
func TestNeededParts(t *testing.T) {
	a := ancestorOf(t, "new", sinceHeader)
	f, _, _ := a.find(manifest.Entry{Path: "b", Size: 5}, time.Now(), time.Now())
	a.entry(manifest.Entry{Path: "b"}, f)
	if got := a.needed(); len(got) != 1 || got[0].Name != "older/003" {
		t.Errorf("%v", got)
	}
}

// A copy since another one holds what differs, whatever the times say, and names
// the other's parts for the rest.
func TestCopySince(t *testing.T) {
	old := map[string]string{
		"base/1/same": "same", "base/1/touched": "touched", "base/1/longer": "long", "base/1/swapped": "1234",
	}
	first := newRig(t, old, keepPart)
	old["base/1/1"] = "a bad page" // carried over
	if err := os.WriteFile(filepath.Join(first.dir, "base/1/1"), []byte("a bad page"), 0o600); err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Hour).Truncate(time.Second)
	for name := range old {
		if err := os.Chtimes(filepath.Join(first.dir, name), past, past); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.copyParts(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := manifest.Header{
		Label: "old", SystemID: 7, From: "primary", StartTime: time.Now().Add(-time.Minute), StartTimeline: 1, StartLSN: wal.LSN(1),
		Parts: first.parts, BadPages: []manifest.BadPage{{Path: "base/1/1", Block: 0}},
	}
	var text bytes.Buffer
	if err := first.listing.entries.Finish(&text, h); err != nil {
		t.Fatal(err)
	}

	second := newRig(t, map[string]string{}, keepPart)
	second.tree.root = first.dir
	for name, text := range map[string]string{"base/1/longer": "longer", "base/1/swapped": "4321", "base/1/new": "new"} {
		if err := os.WriteFile(filepath.Join(first.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	if err := os.Chtimes(filepath.Join(first.dir, "base/1/touched"), now, now); err != nil {
		t.Fatal(err)
	}
	a, err := readAncestor(&text, "new")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.fits(manifest.Header{SystemID: 7, From: "primary", StartTimeline: 1, StartLSN: 2}, now); err != nil {
		t.Fatal(err)
	}
	second.tree.ancestor = a
	if err := second.copyParts(t.Context()); err != nil {
		t.Fatal(err)
	}
	found := second.contents(t)
	for name, copied := range map[string]bool{
		"base/1/same": false, "base/1/1": false, "base/1/touched": true, "base/1/longer": true, "base/1/swapped": true, "base/1/new": true,
	} {
		if _, is := found[name]; is != copied {
			t.Errorf("%s: copied %v, want %v", name, is, copied)
		}
	}
	where := map[string]string{}
	for all := second.listing.entries.Entries(); ; {
		e, err := all.Next()
		if err == io.EOF {
			break
		}
		where[e.Path] = e.Part
	}
	if where["base/1/same"] != "old/000" || where["base/1/swapped"] != "000" {
		t.Errorf("%v", where)
	}
	if second.tree.bad.all.all != 1 {
		t.Error("the bad page of a file that is used again is forgotten")
	}
}

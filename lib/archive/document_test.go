package archive

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"pgpipes/lib/note"
)

// readText reads a file of the repository that the tests lie in.
func readText(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The document names every key of the notes, each with a tab after it, and what
// it shows of them is read as it says.
func TestNotesInDocument(t *testing.T) {
	document := readText(t, "../../doc/repository.md")
	notes := map[string]string{}
	for _, shown := range regexp.MustCompile(`(?m)(^    [a-z-]+\t.*\n)+`).FindAllString(document, -1) {
		text := strings.TrimPrefix(strings.ReplaceAll("\n"+shown, "\n    ", "\n"), "\n")
		title, _, _ := strings.Cut(text, "\t")
		notes[title] += text
	}
	if id, err := ParseIdentity([]byte(notes[identityTitle])); err != nil || id.String() != notes[identityTitle] {
		t.Errorf("the identity: %v, %v", id, err)
	}
	if s, err := parseStart([]byte(notes["timeline"])); err != nil || s.BlockSize != 8192 || s.From != "primary" || s.FirstTime.IsZero() {
		t.Errorf("start: %+v, %v", s, err)
	}
	var g Gap
	if g.readText([]byte(notes[gapTitle])); g.From.IsZero() || !strings.Contains(g.Reason, "not mounted") {
		t.Errorf("gap: %+v", g)
	}
	if a := parseAccepted(Span{}, 1, []byte(notes[acceptedTitle])); a.By != ByOperator || a.Time.IsZero() || a.Host == "" {
		t.Errorf("hole: %+v", a)
	}
	if v, ok := note.Parse([]byte(notes[recordTitle]), recordTitle, recordFormat); !ok || v["result"] == "" || v["findings"] != "0" || v["step"] == "" {
		t.Errorf("records: %v", v)
	}
	full := Start{BlockSize: 1, From: "x", Parent: "y", FirstTimeline: 9}.text() + g.text()
	for _, line := range strings.Split(strings.TrimSuffix(full, "\n"), "\n") {
		if key, _, _ := strings.Cut(line, "\t"); !strings.Contains(document, "\n    "+key+"\t") {
			t.Errorf("doc/repository.md shows no %s", key)
		}
	}
}

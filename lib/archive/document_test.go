package archive

import (
	"os"
	"regexp"
	"strings"
	"testing"
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

// The table of keys in the document tells of every key in the package comment.
func TestLayoutInDocument(t *testing.T) {
	document := readText(t, "../../doc/repository.md")
	_, layout, _ := strings.Cut(readText(t, "repo.go"), "// # Layout\n")
	layout, _, _ = strings.Cut(layout, "// # ")
	keys := regexp.MustCompile(`(?m)^//\t(\S+)`).FindAllStringSubmatch(layout, -1)
	if len(keys) < 10 {
		t.Fatalf("the layout in repo.go has only %d keys", len(keys))
	}
	for _, key := range keys {
		prefix, name, isBelow := strings.Cut(key[1], "/")
		row := "`" + prefix + "`"
		if isBelow {
			row = "`" + prefix + "/"
		}
		if prefix == "base" {
			row = "`base/LABEL/" + regexp.MustCompile("^000").ReplaceAllString(name[strings.IndexByte(name, '/')+1:], "NNN")
			row = strings.TrimSuffix(row, "zst")
		}
		if !strings.Contains(document, "\n| "+row) {
			t.Errorf("doc/repository.md has no row %s for %s", row, key[1])
		}
	}
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
	if id, err := parseIdentity([]byte(notes[identityTitle])); err != nil || id.String() != notes[identityTitle] {
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
	if v, ok := readLines([]byte(notes[recordTitle]), recordTitle, recordFormat); !ok || v["result"] == "" || v["findings"] != "0" || v["step"] == "" {
		t.Errorf("records: %v", v)
	}
	full := Start{BlockSize: 1, From: "x", Parent: "y", FirstTimeline: 9}.text() + g.text()
	for _, line := range strings.Split(strings.TrimSuffix(full, "\n"), "\n") {
		if key, _, _ := strings.Cut(line, "\t"); !strings.Contains(document, "\n    "+key+"\t") {
			t.Errorf("doc/repository.md shows no %s", key)
		}
	}
}

package note

import (
	"maps"
	"strings"
	"testing"
)

func TestTextIsParsed(t *testing.T) {
	text := Text("title", 1, "host", "db1", "reason", "two\nlines\tand a tab")
	want := map[string]string{"title": "1", "host": "db1", "reason": "two lines and a tab"}
	if got, ok := Parse([]byte(text), "title", 1); !ok || !maps.Equal(got, want) {
		t.Errorf("%q is %q, %v", text, got, ok)
	}
}

// Somebody else may have written it: what it says goes to terminals all the same.
func TestParsedIsFitForMessages(t *testing.T) {
	got, ok := Parse([]byte("title\t1\nhost\tdb\x1b[2J\xff\t1\n"), "title", 1)
	if !ok || got["host"] != "db [2J? 1" {
		t.Errorf("%q, %v", got, ok)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"", "other\t1\n", "title\t2\n", "title\t1", "title\t1\nhost\n"} {
		if _, ok := Parse([]byte(text), "title", 1); ok {
			t.Errorf("%q is a note", text)
		}
	}
}

func TestInLine(t *testing.T) {
	for text, want := range map[string]string{
		"a\x00b\x7fc":            "a b c",
		"\r\n":                   "",
		"\xff":                   "?",
		strings.Repeat("é", 501): strings.Repeat("é", 500),
	} {
		if got := InLine(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

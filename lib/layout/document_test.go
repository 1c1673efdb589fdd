package layout

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
	keys := regexp.MustCompile(`(?m)^//\t(\S+)`).FindAllStringSubmatch(readText(t, "key.go"), -1)
	if len(keys) < 10 {
		t.Fatalf("the package comment has only %d keys", len(keys))
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

// Package note is the text of the small objects in a repository, and of records
// in a state directory, that say something: a few lines, each of a key, a tab and
// a value. The first has a title and the number of a format, and keys that are
// not known are passed over.
package note

import (
	"fmt"
	"strconv"
	"strings"
)

// Text makes a note of keys and values in turn.
func Text(title string, format int, pairs ...string) string {
	text := fmt.Sprintf("%s\t%d\n", title, format)
	for i := 0; i+1 < len(pairs); i += 2 {
		text += pairs[i] + "\t" + InLine(pairs[i+1]) + "\n"
	}
	return text
}

// Parse takes a note apart and reports whether it is one: its title and format are
// these, and every line is whole. Whatever stands in it, the values are fit for
// messages, as Text has made them.
func Parse(text []byte, title string, format int) (map[string]string, bool) {
	value := map[string]string{}
	for line := range strings.Lines(string(text)) {
		key, v, found := strings.Cut(line, "\t")
		v, whole := strings.CutSuffix(v, "\n")
		if !found || !whole {
			return nil, false
		}
		value[key] = InLine(v)
	}
	return value, value[title] == strconv.Itoa(format)
}

// InLine makes a text fit for one line of a note, and for messages: without
// control characters, and of a thousand bytes at most.
func InLine(text string) string {
	const longest = 1000 // bytes
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
	return strings.ToValidUTF8(text[:min(len(text), longest)], "?")
}

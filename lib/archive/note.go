package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"pgpipes/lib/store"
)

// A note is an object of a few lines, each of a key, a tab and a value. The
// first has a title and the number of a format, and keys that are not known are
// passed over.

// writeLines makes the text of a note of keys and values in turn.
func writeLines(title string, format int, pairs ...string) string {
	text := fmt.Sprintf("%s\t%d\n", title, format)
	for i := 0; i+1 < len(pairs); i += 2 {
		text += pairs[i] + "\t" + inLine(pairs[i+1]) + "\n"
	}
	return text
}

// readLines takes lines of a key, a tab and a value apart, the first of which
// is a title and the number of the format.
func readLines(text []byte, title string, format int) (map[string]string, bool) {
	value := map[string]string{}
	for line := range strings.Lines(string(text)) {
		key, v, found := strings.Cut(line, "\t")
		v, whole := strings.CutSuffix(v, "\n")
		if !found || !whole {
			return nil, false
		}
		value[key] = v
	}
	return value, value[title] == strconv.Itoa(format)
}

// inLine makes a text fit for one line of a record.
func inLine(text string) string {
	const longest = 1000 // bytes
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
	return strings.ToValidUTF8(text[:min(len(text), longest)], "?")
}

// putNote stores a note whose key says what matters: that it is there already
// in other words is success.
func (r *Repo) putNote(ctx context.Context, key, text string) error {
	_, err := r.Put(ctx, key, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
	if !errors.Is(err, store.ErrDiffers) {
		return err
	}
	return r.sync(ctx, key)
}

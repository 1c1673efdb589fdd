package manifest

import (
	"io"
	"maps"
	"slices"
	"testing"
)

// listed is an EntrySource of these entries.
type listed []Entry

func (l *listed) Next() (Entry, error) {
	if len(*l) == 0 {
		return Entry{}, io.EOF
	}
	e := (*l)[0]
	*l = (*l)[1:]
	return e, nil
}

func TestBorrowed(t *testing.T) {
	larger, changed, open := file("d"), file("e"), file("f")
	larger.Size++
	changed.SHA256 = sum("something else")
	open.Mode = 0o666
	for _, c := range []struct {
		name  string
		child []Entry
		want  []string
	}{
		{"the same", []Entry{in("001", file("a")), in("old/000", file("b")), in("old/001", file("c")), in("older/000", file("d")), in("old/000", file("g"))}, nil},
		{"its own", []Entry{in("000", larger), in("", changed)}, nil},
		{"of one that is not given", []Entry{in("unknown/000", larger)}, nil},
		{"in another part", []Entry{in("old/001", file("b"))}, []string{"old/001"}},
		{"larger", []Entry{in("older/000", larger)}, []string{"older/000"}},
		{"changed, and the mode", []Entry{in("old/000", file("b")), in("old/000", changed), in("old/002", open)}, []string{"old/000", "old/002"}},
		{"not there", []Entry{in("old/000", file("b1")), in("old/001", file("c")), in("old/003", file("z"))}, []string{"old/000", "old/003"}},
		{"twice", []Entry{in("old/005", file("b")), in("old/005", file("c"))}, []string{"old/005"}},
	} {
		old := listed{in("000", file("b")), in("001", file("c")), in("000", file("e")), in("002", file("f")), in("000", file("g"))}
		older := listed{in("001", file("b")), in("000", file("d"))}
		child := listed(c.child)
		got, err := Borrowed(&child, map[string]EntrySource{"old": &old, "older": &older})
		if names := slices.Sorted(maps.Keys(got)); err != nil || !slices.Equal(names, c.want) {
			t.Errorf("%s: %q, %v", c.name, names, err)
		}
	}
}

package manifest

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// list is an EntrySource of entries that are in order.
type list struct {
	entries []Entry
	err     error // after the last; nil for io.EOF
}

func (l *list) Next() (Entry, error) {
	if len(l.entries) == 0 {
		if l.err != nil {
			return Entry{}, l.err
		}
		return Entry{}, io.EOF
	}
	e := l.entries[0]
	l.entries = l.entries[1:]
	return e, nil
}

// with is a file that f has changed.
func with(e Entry, f func(e *Entry)) Entry {
	f(&e)
	return e
}

func TestCompare(t *testing.T) {
	a, b, l := file("a"), file("b"), link("l", "x")
	chmod := func(e *Entry) { e.Mode = 0o4644 }
	chown := func(e *Entry) { e.Owner = "root:root" }
	other := func(e *Entry) { e.SHA256 = sum("other") }
	hash := "sha256 " + sum("other") + ", expected " + a.SHA256
	cases := []struct {
		name      string
		want, got []Entry
		options   CompareOptions
		diffs     []string
	}{
		{name: "nothing"},
		{name: "same", want: []Entry{a, b, l}, got: []Entry{a, b, l}},
		{name: "missing", want: []Entry{a, b, l}, got: []Entry{b}, diffs: []string{"a: missing", "l: missing"}},
		{name: "extra", want: []Entry{b}, got: []Entry{a, b, l}, diffs: []string{"a: not in the manifest", "l: not in the manifest"}},
		{name: "by turns", want: []Entry{a}, got: []Entry{b}, diffs: []string{"a: missing", "b: not in the manifest"}},
		{name: "size", want: []Entry{a}, got: []Entry{with(a, func(e *Entry) { e.Size = 10; other(e) })},
			diffs: []string{"a: size 10, expected 1"}},
		{name: "hash", want: []Entry{a}, got: []Entry{with(a, other)}, diffs: []string{"a: " + hash}},
		{name: "no hash", want: []Entry{a}, got: []Entry{with(a, func(e *Entry) { e.SHA256 = "" })},
			diffs: []string{"a: sha256 -, expected " + a.SHA256}},
		{name: "hash ignored", want: []Entry{a}, got: []Entry{with(a, other)}, options: CompareOptions{IgnoreSHA256: true}},
		{name: "mode and owner", want: []Entry{a}, got: []Entry{with(with(a, chmod), chown)},
			diffs: []string{"a: mode 4644, expected 0600", "a: owner root:root, expected postgres:postgres"}},
		{name: "mode and owner ignored", want: []Entry{a}, got: []Entry{with(with(a, chmod), chown)},
			options: CompareOptions{IgnoreMode: true, IgnoreOwner: true}},
		{name: "unknown owner", want: []Entry{a}, got: []Entry{with(a, func(e *Entry) { e.Owner = "" })}},
		{name: "time and part", want: []Entry{a}, got: []Entry{with(a, func(e *Entry) { e.MTime = noon.AddDate(1, 0, 0); e.Part = "" })}},
		{name: "kind", want: []Entry{a}, got: []Entry{directory("a")}, diffs: []string{"a: directory, expected file"}},
		{name: "target", want: []Entry{l}, got: []Entry{link("l", "y\n")}, diffs: []string{`l: target y\012, expected x`}},
		{name: "mode of a link", want: []Entry{l}, got: []Entry{with(l, chmod)}},
		{name: "ignored", want: []Entry{a, b, l}, got: []Entry{with(b, other)},
			options: CompareOptions{Ignore: func(p string) bool { return p != "a" }}, diffs: []string{"a: missing"}},
		{name: "escaped order", want: []Entry{file("["), file("\n"), file("]")}, got: []Entry{file("["), file("]")},
			diffs: []string{`\012: missing`}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var diffs []string
			for d, err := range Compare(&list{entries: c.want}, &list{entries: c.got}, c.options) {
				if err != nil {
					t.Fatal(err)
				}
				diffs = append(diffs, d.String())
			}
			if !slices.Equal(diffs, c.diffs) {
				t.Errorf("%q, want %q", diffs, c.diffs)
			}
		})
	}
}

func TestCompareErrors(t *testing.T) {
	a, b := file("a"), file("b")
	broken := func() *list { return &list{entries: []Entry{a}, err: errDisk} }
	cases := []struct {
		name      string
		want, got *list
		text      string
	}{
		{"first fails", broken(), &list{entries: []Entry{a, b}}, errDisk.Error()},
		{"second fails", &list{entries: []Entry{a, b}}, broken(), errDisk.Error()},
		{"first is out of order", &list{entries: []Entry{b, a}}, &list{}, "a: after b, out of order"},
		{"second is out of order", &list{}, &list{entries: []Entry{b, b}}, "b: after b, out of order"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var errs []error
			for _, err := range Compare(c.want, c.got, CompareOptions{}) {
				errs = append(errs, err)
			}
			last := errs[len(errs)-1]
			if last == nil || !strings.Contains(last.Error(), c.text) || errors.Join(errs[:len(errs)-1]...) != nil {
				t.Errorf("errors %v", errs)
			}
		})
	}
}

func TestCompareStops(t *testing.T) {
	n := 0
	for range Compare(&list{entries: []Entry{file("a"), file("b")}}, &list{}, CompareOptions{}) {
		n++
		break
	}
	if n != 1 {
		t.Errorf("%d differences", n)
	}
}

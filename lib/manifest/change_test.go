package manifest

import (
	"errors"
	"slices"
	"testing"
	"time"
)

func TestChanges(t *testing.T) {
	a, b, l := file("a"), file("b"), link("l", "x")
	cases := []struct {
		name          string
		before, after []Entry
		want          []string
	}{
		{name: "nothing"},
		{"same", []Entry{a, l}, []Entry{a, l}, []string{"unchanged a", "unchanged l"}},
		{"by turns", []Entry{a, l}, []Entry{b}, []string{"removed a", "added b", "removed l"}},
		{"one ends", []Entry{a}, []Entry{a, b, l}, []string{"unchanged a", "added b", "added l"}},
		{"size", []Entry{a}, []Entry{with(a, func(e *Entry) { e.Size++ })}, []string{"changed a"}},
		{"hash", []Entry{a}, []Entry{with(a, func(e *Entry) { e.SHA256 = sum("other") })}, []string{"changed a"}},
		{"hash and mode", []Entry{a}, []Entry{with(a, func(e *Entry) { e.SHA256, e.Mode = sum("other"), 0o640 })}, []string{"changed a"}},
		{"kind", []Entry{a}, []Entry{directory("a")}, []string{"changed a"}},
		{"mode", []Entry{a}, []Entry{with(a, func(e *Entry) { e.Mode = 0o640 })}, []string{"touched a"}},
		{"owner", []Entry{a}, []Entry{with(a, func(e *Entry) { e.Owner = "root:root" })}, []string{"touched a"}},
		{"owner unknown", []Entry{a}, []Entry{with(a, func(e *Entry) { e.Owner = "" })}, []string{"unchanged a"}},
		{"time", []Entry{a}, []Entry{with(a, func(e *Entry) { e.MTime = noon.Add(time.Second) })}, []string{"touched a"}},
		{"time by less than a second", []Entry{a}, []Entry{with(a, func(e *Entry) { e.MTime = noon.Add(time.Millisecond) })}, []string{"unchanged a"}},
		{"time unknown", []Entry{with(a, func(e *Entry) { e.MTime = time.Time{} })}, []Entry{a}, []string{"unchanged a"}},
		{"target", []Entry{l}, []Entry{link("l", "y")}, []string{"touched l"}},
		{"mode of a link", []Entry{l}, []Entry{with(l, func(e *Entry) { e.Mode = 0o700 })}, []string{"unchanged l"}},
		{"part", []Entry{a}, []Entry{in("x/007", a)}, []string{"unchanged a"}},
		{"escaped order", []Entry{file("["), file("\n"), file("]")}, []Entry{file("["), file("]")},
			[]string{"unchanged [", "removed \n", "unchanged ]"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for change, err := range Changes(&list{entries: c.before}, &list{entries: c.after}) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(change.State)+" "+change.Path())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// An error of either side ends it, also when the other side has ended before.
func TestChangesErrors(t *testing.T) {
	a := file("a")
	broken := func() *list { return &list{entries: []Entry{a}, err: errDisk} }
	for name, sides := range map[string][2]*list{
		"first":                     {broken(), {entries: []Entry{a, file("b")}}},
		"second":                    {{entries: []Entry{a, file("b")}}, broken()},
		"first, after the second's": {broken(), {}},
		"second, after the first's": {{}, broken()},
	} {
		var last error
		n := 0
		for _, err := range Changes(sides[0], sides[1]) {
			last = err
			n++
		}
		if !errors.Is(last, errDisk) || n != 2 {
			t.Errorf("%s: %d changes, the last with error %v", name, n, last)
		}
	}
}

func TestChangesStop(t *testing.T) {
	n := 0
	for range Changes(&list{entries: []Entry{file("a"), file("b")}}, &list{}) {
		n++
		break
	}
	if n != 1 {
		t.Errorf("%d changes", n)
	}
}

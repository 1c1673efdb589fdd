package main

import (
	"strings"
	"testing"
)

func TestReadPlaces(t *testing.T) {
	for text, want := range map[string][2]string{
		"16384=/a": {"", "/a"}, "16384=a=b": {"", "a=b"}, "/old/=/a": {"/old", "/a"}, `/o\=ld=/a\=b`: {"/o=ld", "/a=b"}, `/old\x=/a\y`: {`/old\x`, `/a\y`},
		"16384": {}, "16384=": {}, "=/a": {}, "0=/a": {}, "x=/a": {}, "4294967296=/a": {}, "": {},
	} {
		p, err := readPlaces([]string{text})
		switch got := p.byPath[want[0]] + p.byOID[16384]; {
		case want[1] == "" && err == nil:
			t.Errorf("%s: %v", text, p)
		case want[1] != "" && (err != nil || got != want[1]):
			t.Errorf("%s: %v %v, want %v", text, p, err, want)
		}
	}
}

// What is written as OLDDIR=DIR is read back, whatever is in it.
func FuzzCutPlace(f *testing.F) {
	f.Add("16384", "/a")
	f.Add("/with=", "=")
	f.Add("/new\nline \xff", `back\slash`)
	f.Fuzz(func(t *testing.T, which, dir string) {
		if strings.HasSuffix(which, `\`) || strings.Contains(which+dir, `\=`) {
			return // cannot be written
		}
		escaped := strings.ReplaceAll(which, "=", `\=`) + "=" + strings.ReplaceAll(dir, "=", `\=`)
		if w, d, found := cutPlace(escaped); w != which || d != dir || !found {
			t.Errorf("%q: %q %q %v", escaped, w, d, found)
		}
	})
}

package pgdata

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

const serverMap = "blank-backslash-linefeed.tablespace_map"

func TestTablespaceMapOfServer(t *testing.T) {
	raw := fixture(t, serverMap)
	want := []Tablespace{{16399, "/var/tmp/pgfix/a b\\c\nd"}, {16393, "/var/tmp/pgfix/ts"}}
	got, err := ParseTablespaceMap(raw)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if again := FormatTablespaceMap(want); !bytes.Equal(again, raw) {
		t.Errorf("written as %q, the server writes %q", again, raw)
	}
}

func TestParseTablespaceMap(t *testing.T) {
	for in, want := range map[string][]Tablespace{
		"":                         nil,
		"\n\n":                     nil,
		"1 /a\r\n2 /b\n":           {{1, "/a"}, {2, "/b"}},
		"1 /a\n\n2 /b\n":           {{1, "/a"}, {2, "/b"}},
		"4294967295  /a\xff \n":    {{4294967295, " /a\xff "}},
		"1 /a\\\nb\\\rc\\\\d\\e\n": {{1, "/a\nb\rc\\de"}},
		"1 pg_tblspc/1\n":          {{1, "pg_tblspc/1"}},
		"1 \\\n\n":                 {{1, "\n"}},
	} {
		got, err := ParseTablespaceMap([]byte(in))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %+v, %v; want %+v", in, got, err, want)
		}
	}
}

func TestParseTablespaceMapRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"1 /a":            "cut off",
		"1 /a\n2 /b":      "cut off",
		"1 /a\\":          "cut off",
		"1 /a\\\n":        "cut off",
		"1 /a\n\\":        "cut off",
		"1\n":             "no usable path",
		"1 \n":            "no usable path",
		"1 /a\x00b\n":     "no usable path",
		" /a\n":           "not an OID",
		"x /a\n":          "not an OID",
		"0 /a\n":          "not an OID",
		"-1 /a\n":         "not an OID",
		"4294967296 /a\n": "not an OID",
		"1\t/a\n":         "not an OID",
		"1 /a\n/b\n":      "not an OID",
	} {
		_, err := ParseTablespaceMap([]byte(in))
		if !errors.Is(err, ErrTablespaceMap) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}

func TestFormatTablespaceMapEmpty(t *testing.T) {
	if got := FormatTablespaceMap(nil); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

func FuzzParseTablespaceMap(f *testing.F) {
	f.Add(fixture(f, serverMap))
	f.Add([]byte("1 /a\r\n\n2 /b\\\\\\\n\n"))
	f.Add([]byte("1 /a\\"))
	f.Fuzz(func(t *testing.T, b []byte) {
		spaces, err := ParseTablespaceMap(b)
		if err != nil {
			if !errors.Is(err, ErrTablespaceMap) {
				t.Errorf("%v is not ErrTablespaceMap", err)
			}
			return
		}
		again, err := ParseTablespaceMap(FormatTablespaceMap(spaces))
		if err != nil || !slices.Equal(again, spaces) {
			t.Errorf("%q reads as %+v, which reads as %+v, %v", b, spaces, again, err)
		}
	})
}

package manifest

import (
	"testing"
	"unicode/utf8"
)

func TestEscape(t *testing.T) {
	cases := []struct{ raw, escaped string }{
		{"", ""},
		{"base/1/1259_fsm.1", "base/1/1259_fsm.1"},
		{" a b ", " a b "},
		{"a\tb\nc\x00", `a\011b\012c\000`},
		{"\x7f\u0080\u009f\u00a0", `\177\302\200\302\237` + "\u00a0"},
		{`\`, `\134`},
		{`\011`, `\134011`},
		{"caf\u00e9 \U0001F418", "caf\u00e9 \U0001F418"},
		{"\xe9", `\351`},
		{"\xe2\x82/\xac", `\342\202/\254`},
		{"\xed\xa0\x80", `\355\240\200`},
		{"\ufffd", "\ufffd"},
	}
	for _, c := range cases {
		if got := Escape(c.raw); got != c.escaped {
			t.Errorf("Escape(%q) = %q, want %q", c.raw, got, c.escaped)
		}
		if got, err := Unescape(c.escaped); err != nil || got != c.raw {
			t.Errorf("Unescape(%q) = %q, %v", c.escaped, got, err)
		}
	}
}

func TestUnescapeRefuses(t *testing.T) {
	for _, s := range []string{
		`\`, `\1`, `\01`, `\08`, `\008`, `\80`, `\400`, `\777`, `\n`, `\\`, `a\`,
		`\141`, `\303\251`, "\t", "a\nb", "\xff", "\u0085", "\x7f",
	} {
		if raw, err := Unescape(s); err == nil {
			t.Errorf("Unescape(%q) = %q", s, raw)
		}
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "a b", "\\\t\n", "\xff\xc3\xa9\xc3", `\134\377`, "\u0085\ufffd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		escaped := Escape(s)
		if !utf8.ValidString(escaped) {
			t.Errorf("%q is not UTF-8", escaped)
		}
		for _, r := range escaped {
			if r < ' ' || r >= 0x7f && r < 0xa0 {
				t.Errorf("%q holds a control character", escaped)
			}
		}
		if raw, err := Unescape(escaped); err != nil || raw != s {
			t.Errorf("%q came back as %q, %v", s, raw, err)
		}
		if raw, err := Unescape(s); err == nil && Escape(raw) != s {
			t.Errorf("%q has another form, %q", s, Escape(raw))
		}
	})
}

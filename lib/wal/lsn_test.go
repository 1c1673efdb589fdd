package wal

import "testing"

func TestParseLSN(t *testing.T) {
	for _, test := range []struct {
		in   string
		want LSN
		out  string
	}{
		{"0/0", 0, "0/0"},
		{"16/B374D848", 0x16B374D848, "16/B374D848"},
		{"16/b374d848", 0x16B374D848, "16/B374D848"},
		{"16/0000001F", 0x160000001F, "16/1F"},
		{"00000001/1", 0x100000001, "1/1"},
		{"FFFFFFFF/FFFFFFFF", 1<<64 - 1, "FFFFFFFF/FFFFFFFF"},
	} {
		got, err := ParseLSN(test.in)
		if err != nil || got != test.want || got.String() != test.out {
			t.Errorf("ParseLSN(%q) = %v (%d), %v; want %s", test.in, got, uint64(got), err, test.out)
		}
	}
}

func TestParseLSNRefuses(t *testing.T) {
	for _, in := range []string{
		"", "/", "0", "0/", "/0", "0/0/0", " 0/0", "0/0 ", "0/0\n", "+1/0", "-1/0", "0x1/0", "1_0/0",
		"100000000/0", "0/100000000", "000000001/0", "G/0", "0/G", "0 /0", "0\\0",
	} {
		if got, err := ParseLSN(in); err == nil {
			t.Errorf("ParseLSN(%q) = %v, want an error", in, got)
		}
	}
}

func FuzzParseLSN(f *testing.F) {
	for _, s := range []string{"0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF", "1/", "+1/1", "a/0000000b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseLSN(s)
		if err != nil {
			return
		}
		if again, err := ParseLSN(l.String()); err != nil || again != l {
			t.Errorf("%q reads as %v, which reads as %v, %v", s, l, again, err)
		}
	})
}

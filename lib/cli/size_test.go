package cli

import (
	"math"
	"testing"
)

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "1": 1, "16777216": 16 << 20, "7B": 7, "2kB": 2000, "2KiB": 2048, "3MB": 3e6, "3MiB": 3 << 20,
		"10GB": 10e9, "10GiB": 10 << 30, "10 GiB": 10 << 30, "4TB": 4e12, "4TiB": 4 << 40,
		"9223372036854775807": math.MaxInt64, "8388607TiB": 8388607 << 40,
	} {
		var got Size
		if err := got.UnmarshalFlag(text); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", " ", "GiB", "-1", "+1", "1.5GiB", "10G", "10g", "10gb", "10KB", "10 G B", "10GiBB", "0x10", "1e9", "1_000", " 1", "１",
		"9223372036854775808", "8388608TiB", "99999999999999999999GB",
	} {
		got := Size(42)
		if err := got.UnmarshalFlag(text); err == nil || got != 42 {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

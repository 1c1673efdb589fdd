package cli

import (
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"0s": 0, "90s": 90 * time.Second, "5m": 5 * time.Minute, "26h": 26 * time.Hour, "30d": 30 * day, "2w": 14 * day,
		"1d12h": 36 * time.Hour, "1w1s": 7*day + time.Second, "106751d": 106751 * day,
	} {
		var d Duration
		if err := d.UnmarshalFlag(text); err != nil || time.Duration(d) != want {
			t.Errorf("%s: %v, %v, want %v", text, time.Duration(d), err, want)
		}
	}
	for _, text := range []string{"", "1", "h", "-1h", "1.5h", "1y", "1h ", " 1h", "1h30", "+1h", "106752d", "9223372036854775807w", "106751d106751d"} {
		var d Duration
		if err := d.UnmarshalFlag(text); err == nil {
			t.Errorf("%q: %v", text, time.Duration(d))
		}
	}
}

func TestDurationForPeople(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0s": 0, "59s": 59*time.Second + 999*time.Millisecond, "1m": time.Minute, "1m1s": 61 * time.Second, "3h12m": 3*time.Hour + 12*time.Minute + 9*time.Second,
		"1h": time.Hour + 9*time.Second, "2d": 48 * time.Hour, "2d3h": 51*time.Hour + 59*time.Minute, "400d": 400 * 24 * time.Hour,
	} {
		if got := Duration(d).String(); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

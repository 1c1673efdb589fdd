package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is an option that is a length of time: numbers with units, weeks and
// days among them, as in 2w, 30d, 1d12h or 90s. A day has 24 hours.
type Duration time.Duration

var durationUnits = map[byte]time.Duration{
	's': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour,
}

// UnmarshalFlag reads the value of an option.
func (d *Duration) UnmarshalFlag(text string) error {
	var sum time.Duration
	rest := text
	for first := true; first || rest != ""; first = false {
		i := strings.IndexAny(rest, "smhdw")
		n, err := strconv.ParseUint(rest[:max(i, 0)], 10, 63)
		if err != nil || n > uint64((math.MaxInt64-sum)/durationUnits[rest[i]]) {
			return fmt.Errorf("%q is no length of time: numbers with s, m, h, d or w, as in 26h or 30d", text)
		}
		sum += time.Duration(n) * durationUnits[rest[i]]
		rest = rest[i+1:]
	}
	*d = Duration(sum)
	return nil
}

// String writes the two largest units that count, as people say it: 3h12m, 2d.
func (d Duration) String() string {
	seconds := int64(time.Duration(d) / time.Second)
	units := []struct {
		name string
		of   int64
	}{{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}}
	for i, u := range units {
		n := seconds / u.of
		switch {
		case n == 0 && u.name != "s":
			continue
		case i+1 < len(units) && seconds%u.of/units[i+1].of > 0:
			return fmt.Sprintf("%d%s%d%s", n, u.name, seconds%u.of/units[i+1].of, units[i+1].name)
		}
		return fmt.Sprintf("%d%s", n, u.name)
	}
	return "0s"
}

package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is an option that is a number of bytes: a plain integer, or one with a
// unit, decimal as for disks (kB, MB, GB, TB) or binary (KiB, MiB, GiB, TiB).
type Size int64

var sizeUnits = map[string]int64{
	"": 1, "B": 1,
	"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

// UnmarshalFlag reads the value of an option.
func (s *Size) UnmarshalFlag(text string) error {
	digits := strings.TrimRight(text, "BKMGTik ")
	unit, known := sizeUnits[strings.TrimLeft(text[len(digits):], " ")]
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || !known || n > uint64(math.MaxInt64/unit) {
		return fmt.Errorf("%q is no size: a number of bytes, or with a unit as in 10GiB or 10GB", text)
	}
	*s = Size(int64(n) * unit)
	return nil
}

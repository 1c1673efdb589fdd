package cli

import (
	"fmt"
	"strconv"
)

// MostJobs is how much may be done at once: more only takes memory.
const MostJobs = 256

// Jobs is an option that says how much is to be done at once. 0 leaves it to the
// program.
type Jobs int

// UnmarshalFlag reads the value of an option.
func (j *Jobs) UnmarshalFlag(text string) error {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || n > MostJobs {
		return fmt.Errorf("%q is no number of jobs: 1 to %d, or 0 for the default", text, MostJobs)
	}
	*j = Jobs(n)
	return nil
}

// Or is the number of jobs, or what the program takes by itself.
func (j Jobs) Or(usual int) int {
	if j == 0 {
		return usual
	}
	return int(j)
}

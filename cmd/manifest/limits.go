package main

import (
	"fmt"
	"strings"
	"time"

	"pgpipes/lib/cli"
)

// limits are an option: the age from which something is worth a warning and,
// after a comma, the one from which it is critical. The word off is for none.
type limits struct{ warning, critical time.Duration } // 0 is for none

// UnmarshalFlag reads the value of an option.
func (l *limits) UnmarshalFlag(text string) error {
	*l = limits{}
	if text == "off" {
		return nil
	}
	first, second, both := strings.Cut(text, ",")
	if err := (*cli.Duration)(&l.warning).UnmarshalFlag(first); err != nil {
		return err
	}
	if both {
		if err := (*cli.Duration)(&l.critical).UnmarshalFlag(second); err != nil {
			return err
		}
	}
	if l.warning == 0 || both && l.critical < l.warning {
		return fmt.Errorf("%q: an age for a warning and, after a comma, a higher one that is critical, or off", text)
	}
	return nil
}

// judge says how bad an age is. One below 0 tells nothing, for as long as that
// lasts.
func (l limits) judge(age time.Duration) cli.Severity {
	switch {
	case l.critical > 0 && age > l.critical:
		return cli.Critical
	case l.warning > 0 && (age > l.warning || age < 0):
		return cli.Warning
	}
	return cli.OK
}

// worst is how bad it is that there is nothing that could have an age.
func (l limits) worst() cli.Severity { return l.judge(1<<63 - 1) }

// data is the age as plugins put it, with the limits.
func (l limits) data(name string, age time.Duration) string {
	seconds := func(d time.Duration) string {
		if d == 0 {
			return ""
		}
		return fmt.Sprint(int64(d / time.Second))
	}
	text := fmt.Sprintf("%s=%ds;%s;%s", name, int64(age/time.Second), seconds(l.warning), seconds(l.critical))
	return strings.TrimRight(text, ";")
}

package report

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

const (
	thin    = "\u202f" // between a number and its unit; no line is broken there
	unknown = "–"
)

// size is a number of bytes for people, in three digits.
func size(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d"+thin+"B", n)
	}
	value, unit := float64(n), -1
	for value >= 999.5 && unit < 5 {
		value, unit = value/1000, unit+1
	}
	return digits(value) + thin + "kMGTPE"[unit:unit+1] + "B"
}

// segmentSize is a power of two, which decimal units would not show.
func segmentSize(n int64) string {
	if n < 1<<20 {
		return someSize(n)
	}
	return fmt.Sprintf("%d"+thin+"MiB", n>>20)
}

// digits are the three that matter.
func digits(value float64) string {
	switch {
	case value >= 99.95:
		return fmt.Sprintf("%.0f", value)
	case value >= 9.995:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", value), ".0")
	}
	text := fmt.Sprintf("%.2f", value)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

// someSize is a dash for what is not known.
func someSize(n int64) string {
	if n <= 0 {
		return unknown
	}
	return size(n)
}

// duration is a time for people: two units at most.
func duration(d time.Duration) string {
	units := []struct {
		name string
		unit time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"min", time.Minute}, {"s", time.Second}}
	for i, u := range units {
		if d < u.unit {
			continue
		}
		text := fmt.Sprintf("%d"+thin+"%s", d/u.unit, u.name)
		if i+1 == len(units) {
			return text
		}
		if rest := d % u.unit / units[i+1].unit; rest > 0 {
			text += fmt.Sprintf(" %d"+thin+"%s", rest, units[i+1].name)
		}
		return text
	}
	return "under 1" + thin + "s"
}

// someDuration is a dash for what is not known.
func someDuration(d time.Duration) string {
	if d <= 0 {
		return unknown
	}
	return duration(d)
}

// ratio says how many times smaller something became.
func ratio(size, stored int64) string {
	if size <= 0 || stored <= 0 {
		return unknown
	}
	return digits(float64(size)/float64(stored)) + "×"
}

// moment is a time in UTC to the minute, which tables say in their heads.
func moment(t time.Time) string {
	if t.IsZero() {
		return unknown
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// instant is a time to the second, complete in itself.
func instant(t time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	return t.UTC().Format("2 January 2006, 15:04:05 UTC")
}

// minute is a time to the minute, complete in itself.
func minute(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") }

// ago is the age of something.
func ago(now, then time.Time) string {
	age := now.Sub(then)
	switch {
	case age < -skew:
		return duration(-age) + " in the future"
	case age < time.Second:
		return "just now"
	}
	return duration(age) + " ago"
}

// count is a number of things, in groups of three digits.
func count[N int | int64 | uint64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return grouped(n) + " " + many
}

func grouped[N int | int64 | uint64](n N) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + thin + text[i:]
	}
	return text
}

// longest is how much is shown of a text that others wrote, in runes.
const longest = 300

// clean makes a text of others fit to be seen: what no one can see, or what
// turns the direction of writing, is shown as a replacement.
func clean(text string) string {
	shown := []rune(strings.Map(visible, strings.ToValidUTF8(text, "\ufffd")))
	if len(shown) > longest {
		return string(shown[:longest-1]) + "…"
	}
	return string(shown)
}

func visible(r rune) rune {
	switch {
	case r == '\t' || r == '\n' || r == '\r':
		return ' '
	case !unicode.IsGraphic(r):
		return '\ufffd'
	}
	return r
}

package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"pgpipes/lib/cli"
)

// A finding is what status has to say of one thing.
type finding struct {
	severity cli.Severity
	text     string   // a few words, none if all is well and not worth any
	details  []string // lines
	data     []string // as plugins put it: name=value;warning;critical
}

// worst is how bad all is together.
func worst(all []finding) cli.Severity { return slices.MaxFunc(all, bySeverity).severity }

// bySeverity puts what is known to be critical above what nobody knows.
func bySeverity(a, b finding) int {
	weight := func(f finding) int {
		return slices.Index([]cli.Severity{cli.OK, cli.Warning, cli.Unknown, cli.Critical}, f.severity)
	}
	return cmp.Compare(weight(a), weight(b))
}

const plugin = "PGPIPES"

// summarize is the output of a plugin: a line, which says what is wrong or, if
// nothing is, how all is; data behind a bar; and lines with more about it.
func summarize(all []finding) string {
	severity := worst(all)
	wrong := slices.DeleteFunc(slices.Clone(all), func(f finding) bool {
		return f.text == "" || severity > cli.OK && f.severity == cli.OK
	})
	slices.SortStableFunc(wrong, func(a, b finding) int { return bySeverity(b, a) })
	var words, data []string
	details := ""
	for _, f := range wrong {
		words = append(words, f.text)
	}
	for _, f := range all {
		data = append(data, f.data...)
		for _, line := range f.details {
			details += fmt.Sprintf("%s: %s\n", f.severity, barless(line))
		}
	}
	return fmt.Sprintf("%s %s - %s | %s\n%s", plugin, severity, barless(strings.Join(words, ", ")), strings.Join(data, " "), details)
}

// barless keeps a text in its line, and what is no data from being taken for it.
func barless(text string) string { return strings.NewReplacer("|", "/", "\n", " ").Replace(text) }

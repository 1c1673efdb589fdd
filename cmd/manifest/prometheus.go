package main

import (
	"fmt"
	"strings"
	"time"
)

// A metrics is text in the exposition format of Prometheus, for the textfile
// collector of its node_exporter. All samples say which repository they are of,
// so that there can be a file for each.
type metrics struct {
	text       strings.Builder
	repository string
}

// A sample is one value of a metric; labels are names and values in turn.
type sample struct {
	value  string
	labels []string
}

func number[T int | int64 | uint64](n T, labels ...string) sample {
	return sample{fmt.Sprint(n), labels}
}

// moment is a time as Prometheus counts it.
func moment(t time.Time, labels ...string) sample { return number(t.Unix(), labels...) }

func truth(yes bool, labels ...string) sample {
	if yes {
		return number(1, labels...)
	}
	return number(0, labels...)
}

// gauge writes a metric; one without samples is left out.
func (m *metrics) gauge(name, help string, samples ...sample) {
	if len(samples) == 0 {
		return
	}
	fmt.Fprintf(&m.text, "# HELP pgpipes_%s %s\n# TYPE pgpipes_%s gauge\n", name, help, name)
	for _, s := range samples {
		fmt.Fprintf(&m.text, "pgpipes_%s{repository=\"%s\"", name, escapeLabel(m.repository))
		for i := 0; i+1 < len(s.labels); i += 2 {
			fmt.Fprintf(&m.text, ",%s=\"%s\"", s.labels[i], escapeLabel(s.labels[i+1]))
		}
		fmt.Fprintf(&m.text, "} %s\n", s.value)
	}
}

var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// escapeLabel makes a text the value of a label, which is UTF-8.
func escapeLabel(text string) string {
	return labelEscapes.Replace(strings.ToValidUTF8(text, "\uFFFD"))
}

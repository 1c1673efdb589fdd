package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/cli"
)

// exposition is the grammar of the text format, as far as it is used here: lines
// of help and type before each metric's samples.
var exposition = regexp.MustCompile(`\A(# HELP (\w+) [^\n]*\n# TYPE \w+ gauge\n(\w+\{\w+="([^"\\\n]|\\[\\"n])*"(,\w+="([^"\\\n]|\\[\\"n])*")*\} -?[0-9.]+\n)+)*\z`)

func TestMetrics(t *testing.T) {
	m := metrics{repository: "a \"b\"\\\n\xff{}"}
	m.gauge("one", "The first.", number(-1))
	m.gauge("none", "Not there.")
	m.gauge("many", "The others.", moment(time.Unix(1795334400, 999), "timeline", "1"), truth(true, "label", `\"`), truth(false, "x", "\n", "y", ""))
	const want = "# HELP pgpipes_one The first.\n# TYPE pgpipes_one gauge\n" +
		`pgpipes_one{repository="a \"b\"\\\n` + "\uFFFD" + `{}"} -1` + "\n" +
		"# HELP pgpipes_many The others.\n# TYPE pgpipes_many gauge\n" +
		`pgpipes_many{repository="a \"b\"\\\n` + "\uFFFD" + `{}",timeline="1"} 1795334400` + "\n" +
		`pgpipes_many{repository="a \"b\"\\\n` + "\uFFFD" + `{}",label="\\\""} 1` + "\n" +
		`pgpipes_many{repository="a \"b\"\\\n` + "\uFFFD" + `{}",x="\n",y=""} 0` + "\n"
	got := m.text.String()
	if got != want {
		t.Errorf("%s", got)
	}
	if !exposition.MatchString(got) || exposition.MatchString(strings.Replace(got, `\"`, `"`, 1)) {
		t.Error("not the format")
	}
}

func TestLimits(t *testing.T) {
	for _, test := range []struct {
		text, data string
		age        time.Duration
		want       cli.Severity
	}{
		{"off", "a=3600s", time.Hour, cli.OK},
		{"1h", "a=3600s;3600", time.Hour, cli.OK},
		{"59m", "a=3600s;3540", time.Hour, cli.Warning},
		{"1m,1h", "a=3600s;60;3600", time.Hour, cli.Warning},
		{"1m,59m59s", "a=3600s;60;3599", time.Hour, cli.Critical},
		{"1d,1d", "a=0s;86400;86400", 0, cli.OK},
	} {
		var l limits
		if err := l.UnmarshalFlag(test.text); err != nil || l.judge(test.age) != test.want || l.data("a", test.age) != test.data {
			t.Errorf("%s: %v, %v, %s", test.text, err, l.judge(test.age), l.data("a", test.age))
		}
	}
	for _, text := range []string{"", "0s", "1h,", ",1h", "2h,1h", "1h,2h,3h", "1h, 2h", "OFF"} {
		var l limits
		if err := l.UnmarshalFlag(text); err == nil {
			t.Errorf("%q: %v", text, l)
		}
	}
	for text, want := range map[string]cli.Severity{"off": cli.OK, "1h": cli.Warning, "1h,2h": cli.Critical} {
		var l limits
		if err := l.UnmarshalFlag(text); err != nil || l.worst() != want {
			t.Errorf("%s: the worst is %v, %v", text, l.worst(), err)
		}
	}
}

// The line says what is wrong, the worst first, and can hold nothing that would
// be taken for data or for another line.
func TestReport(t *testing.T) {
	all := []finding{
		{severity: cli.OK, text: "fine", data: []string{"a=1"}},
		{severity: cli.Warning, text: "old|ish", details: []string{"one | two\nthree"}, data: []string{"b=2", "c=3"}},
		{severity: cli.OK},
		{severity: cli.Critical, text: "gone", details: []string{"x"}},
	}
	const want = "PGPIPES CRITICAL - gone, old/ish | a=1 b=2 c=3\nWARNING: one / two three\nCRITICAL: x\n"
	if got := summarize(all); got != want {
		t.Errorf("%q", got)
	}
	if got := summarize(all[:1]); got != "PGPIPES OK - fine | a=1\n" {
		t.Errorf("%q", got)
	}
}

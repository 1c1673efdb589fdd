package cli

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// watched is a program with a command that a monitoring system runs.
func watched(result error) Program {
	s := &sample{}
	return Program{Name: "x", Options: &s.options, Commands: []Command{
		{Name: "plain", Action: Action{Run: func(context.Context, *Process, []string) error { return result }}},
		{
			Name: "watch", Unknown: func(err error) (string, Severity) { return "UNKNOWN: " + err.Error() + "\n", Unknown },
			Action: Action{Run: func(context.Context, *Process, []string) error { return result }},
		},
		{
			Name: "calm", Unknown: func(error) (string, Severity) { return "up 0\n", OK },
			Action: Action{Run: func(context.Context, *Process, []string) error { return result }},
		},
	}}
}

func TestSeverities(t *testing.T) {
	unset(t, "PGPIPES_NUMBER", "PGPIPES_REPOSITORY", "PGPIPES_CONFIG", "PGPIPES_VERBOSE")
	broken := errors.New("broken")
	for _, test := range []struct {
		args     string
		result   error
		want     int
		out, err string
	}{
		{"watch", nil, 0, "", ""},
		{"watch", OK.Err(), 0, "", ""},
		{"watch", Warning.Err(), 1, "", ""},
		{"watch", Critical.Err(), 2, "", ""},
		{"watch", Unknown.Err(), 3, "", ""},
		{"watch", broken, 3, "UNKNOWN: broken\n", "x: broken\n"},
		{"watch", No(broken), 3, "UNKNOWN: broken\n", "x: broken\n"},
		{"watch", Hint(broken, "mend it"), 3, "UNKNOWN: broken\n", "x: broken\nx: hint: mend it\n"},
		{"watch surplus", nil, 3, "UNKNOWN: unexpected operand: surplus\n", "x: unexpected operand: surplus\n"},
		{"watch --number many", nil, 3, "UNKNOWN: ", "x: "},
		{"watch --nonsense", nil, 3, "UNKNOWN: ", "x: "},
		{"--config /nonesuch watch", nil, 3, "UNKNOWN: open /nonesuch: no such file", "x: open /nonesuch: no such file"},
		{"calm", broken, 0, "up 0\n", "x: broken\n"},
		{"plain", broken, 111, "", "x: broken\n"},
		{"plain surplus", nil, 100, "", "x: unexpected operand: surplus\n"},
	} {
		p, out := printing("x")
		program := watched(test.result)
		got := 0
		said := stderr(t, func() {
			got = p.report(p.sayUnknown(program.run(t.Context(), p, strings.Fields(test.args))), 0)
		})
		if got != test.want || !strings.HasPrefix(out.String(), test.out) || (test.out == "") != (out.Len() == 0) || !strings.HasPrefix(said, test.err) {
			t.Errorf("%s, %v: status %d, want %d; out %q, err %q", test.args, test.result, got, test.want, out, said)
		}
	}
}

// That standard output cannot be written is a failure, and none of the others.
func TestSeverityOfAFailureToWrite(t *testing.T) {
	p, _ := printing("x")
	program := watched(nil)
	quiet(t)
	if err := program.run(t.Context(), p, []string{"watch"}); err != nil {
		t.Fatal(err)
	}
	if got := p.report(errors.New("no space left on device"), 0); got != int(Unknown) {
		t.Errorf("status %d", got)
	}
}

func TestHelpNamesSeverities(t *testing.T) {
	p, out := printing("x")
	program := watched(nil)
	if err := errors.Join(program.run(t.Context(), p, []string{"watch", "--help"}), p.Text.Flush()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "0 OK; 1 warning; 2 critical; 3 unknown") || strings.Contains(out.String(), "111") {
		t.Error(out)
	}
}

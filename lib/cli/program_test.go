package cli

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func nothing(context.Context, *Process, []string) error { return nil }

// a program as large as any, that notes what it was asked to do.
type sample struct {
	options struct {
		Repositories
		Number int `long:"number" env:"PGPIPES_NUMBER" description:"a number"`
	}
	wrapOptions struct {
		Wait int `long:"wait" description:"how long"`
	}
	ran      string
	operands []string
}

func (s *sample) action(name string, min, max int) Action {
	return Action{Operands: "FILE…", Min: min, Max: max, Run: func(_ context.Context, _ *Process, operands []string) error {
		s.ran, s.operands = name, operands
		return nil
	}}
}

func (s *sample) simple() Program {
	return Program{Name: "x", Summary: "Do x.", Description: "More.", Options: &s.options, Action: s.action("x", 1, 2)}
}

func (s *sample) commands() Program {
	return Program{Name: "x", Summary: "Do x.", Options: &s.options, Commands: []Command{
		{Name: "one", Summary: "Do one.", Action: s.action("one", 1, 1)},
		{Name: "many", Summary: "Do many.", Action: s.action("many", 0, Many)},
		{Name: "wrap", Summary: "Do wrap.", Wraps: true, Options: &s.wrapOptions, Action: s.action("wrap", 2, Many)},
	}}
}

func TestRun(t *testing.T) {
	unset(t, "PGPIPES_NUMBER", "PGPIPES_REPOSITORY", "PGPIPES_CONFIG", "PGPIPES_VERBOSE")
	tests := []struct {
		commands bool
		args     string
		want     string // what ran, and its operands; or the error's status
	}{
		{false, "a", "x a"},
		{false, "a b", "x a b"},
		{false, "a --number 3 b", "x a b"},
		{false, "-- -a", "x -a"},
		{false, "-- --help", "x --help"},
		{false, "-- a -- b", "100"},
		{false, "-", "x -"},
		{false, "", "100"},
		{false, "a b c", "100"},
		{false, "--number x a", "100"},
		{false, "--nonsense a", "100"},
		{false, "-Z a", "100"},
		{false, "--number", "100"},
		{true, "one a", "one a"},
		{true, "-r /r one a", "one a"},
		{true, "one -r /r a", "one a"},
		{true, "one", "100"},
		{true, "one a b", "100"},
		{true, "many", "many"},
		{true, "many a b c d", "many a b c d"},
		{true, "wrap n cmd -x --help", "wrap n cmd -x --help"},
		{true, "wrap n --wait 3 cmd --wait 4", "wrap n cmd --wait 4"},
		{true, "wrap --wait 3 n cmd", "wrap n cmd"},
		{true, "wrap n -- cmd", "wrap n cmd"},
		{true, "wrap n --nonsense cmd", "100"},
		{true, "wrap n", "100"},
		{true, "", "100"},
		{true, "nonsense", "100"},
		{true, "wait", "100"},
	}
	for _, test := range tests {
		s := &sample{}
		program := s.simple()
		if test.commands {
			program = s.commands()
		}
		p, _ := printing("x")
		err := program.run(t.Context(), p, strings.Fields(test.args))
		got := strings.Join(append([]string{s.ran}, s.operands...), " ")
		if err != nil {
			got = map[int]string{statusUsage: "100"}[status(err)]
			if s.ran != "" {
				t.Errorf("%q: ran %s, and failed: %v", test.args, s.ran, err)
			}
			if text := err.Error(); strings.Contains(text, "\n") {
				t.Errorf("%q: not a line: %q", test.args, text)
			}
		}
		if got != test.want {
			t.Errorf("%q: %q, want %q (%v)", test.args, got, test.want, err)
		}
	}
}

func TestRunReturnsTheErrorOfTheAction(t *testing.T) {
	broken := errors.New("broken")
	program := Program{Name: "x", Action: Action{Run: func(context.Context, *Process, []string) error { return broken }}}
	p, _ := printing("x")
	if err := program.run(t.Context(), p, nil); err != broken {
		t.Error(err)
	}
}

func TestVerboseOption(t *testing.T) {
	unset(t, "PGPIPES_VERBOSE")
	for _, args := range [][]string{{"-v"}, {"--verbose"}} {
		p, _ := printing("x")
		program := Program{Name: "x", Action: Action{Run: nothing}}
		if err := program.run(t.Context(), p, args); err != nil || !p.verbose {
			t.Errorf("%v: verbose %v, %v", args, p.verbose, err)
		}
	}
}

func TestHelp(t *testing.T) {
	unset(t, "PGPIPES_NUMBER", "PGPIPES_REPOSITORY", "PGPIPES_CONFIG", "PGPIPES_VERBOSE")
	for args, wants := range map[string][]string{
		"--help":           {"usage: x [OPTION]… FILE…\n", "Do x.", "More.", "--number", "PGPIPES_NUMBER", "--repository", "--config", "--version", "Exit status: 0 done", "100", "111"},
		"-h":               {"usage: x"},
		"a b c d --help":   {"usage: x"},
		"-h --nonsense":    {"usage: x"},
		"commands one -h":  {"usage: x one [OPTION]… FILE…\n", "Do one.", "--repository"},
		"commands -h":      {"usage: x [OPTION]… COMMAND …\n", "one", "many", "wrap", "Do many."},
		"commands wrap -h": {"usage: x wrap", "--wait"},
	} {
		s := &sample{}
		program := s.simple()
		args, isCommands := strings.CutPrefix(args, "commands ")
		if isCommands {
			program = s.commands()
		}
		p, out := printing("x")
		if err := errors.Join(program.run(t.Context(), p, strings.Fields(args)), p.Text.Flush()); err != nil {
			t.Errorf("%q: %v", args, err)
		}
		for _, want := range wants {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q: no %q in\n%s", args, want, out)
			}
		}
		if s.ran != "" {
			t.Errorf("%q: ran %s", args, s.ran)
		}
	}
}

func TestHelpNamesTheStatusOfFailures(t *testing.T) {
	p, out := printing("x")
	program := Program{Name: "x", Failure: 254, Action: Action{Run: nothing}}
	if err := errors.Join(program.run(t.Context(), p, []string{"--help"}), p.Text.Flush()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "254 any failure") || strings.Contains(out.String(), "111") {
		t.Error(out)
	}
}

func TestVersion(t *testing.T) {
	p, out := printing("x")
	program := Program{Name: "x", Action: Action{Min: 3, Run: nothing}}
	if err := errors.Join(program.run(t.Context(), p, []string{"--version"}), p.Text.Flush()); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "x (pgpipes) "+Version+"\n" {
		t.Errorf("%q", got)
	}
}

// Usual mistakes are called by their names.
func TestUsageErrors(t *testing.T) {
	s := &sample{}
	for args, want := range map[string]string{
		"":        "which command? --help lists them",
		"one":     "what to work on is missing: FILE…",
		"wrap n":  "too few operands: FILE…",
		"one a b": "unexpected operand: b",
	} {
		program := s.commands()
		p, _ := printing("x")
		if err := program.run(t.Context(), p, strings.Fields(args)); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}

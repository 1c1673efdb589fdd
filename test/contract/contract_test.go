// Package contract tests what holds for every program, from outside. The
// programs are those in cmd/, so a new one is covered by itself; what a program
// can do beyond --help is told in invocations_test.go.
package contract

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"pgpipes/test/script"
)

func TestMain(m *testing.M) { script.Main(m) }

const commands = "../../cmd"

func TestContract(t *testing.T) {
	for _, program := range programs(t) {
		t.Run(program, func(t *testing.T) {
			p := script.Params("testdata/scripts")
			setup := p.Setup
			p.Setup = func(e *testscript.Env) error {
				usage, failure := statuses(t, program)
				i := invocations[program]
				for name, value := range map[string]string{
					"PROGRAM": program, "USAGE": usage, "FAILURE": failure,
					"OUTPUT": orHelp(program, i.output), "EARLY": i.early,
				} {
					e.Setenv(name, value)
				}
				e.Values["t"] = t
				return setup(e)
			}
			p.Cmds["surplus"] = surplus
			p.Cmds["missing"] = missing
			p.Cmds["options"] = options
			p.Cmds["blocked"] = blocked
			p.Cmds["late"] = late
			testscript.Run(t, p)
		})
	}
}

// programs are the names of the directories in cmd.
func programs(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(commands)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if len(names) < 5 {
		t.Fatalf("only %q", names)
	}
	return names
}

// help is the text of --help.
func help(t testing.TB, argv ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(script.Programs(), argv[0]), append(argv[1:], "--help")...)
	cmd.Env = []string{}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v --help: %v", argv, err)
	}
	return string(out)
}

var oneFailure = regexp.MustCompile(`(?m)^Exit status: 0 done; 1 the answer is no; (\d+) any failure;`)

// statuses are what a program says of its exit statuses: of wrong usage and of
// failures.
func statuses(t testing.TB, program string) (usage, failure string) {
	t.Helper()
	if m := oneFailure.FindStringSubmatch(help(t, program)); m != nil {
		return m[1], m[1]
	}
	return "100", "111"
}

func orHelp(program, command string) string {
	if command == "" {
		return program + " --help"
	}
	return command
}

// A usage is a program, or a program and one of its commands, and how many
// operands it takes.
type usage struct {
	argv     []string
	min, max int  // max is -1 for any number
	monitors bool // its statuses are those of monitoring plugins
}

// plugin is what such a program says of its statuses.
const plugin = "\nExit status: 0 OK; 1 warning; 2 critical; 3 unknown, for wrong usage and all failures;"

var (
	optional = regexp.MustCompile(`\[[^\]]*\]…?`)
	verb     = regexp.MustCompile(`(?m)^  ([a-z]+)  +\S`)
)

// usages reads them from the texts of --help.
func usages(t testing.TB, program string) (all []usage) {
	t.Helper()
	text := help(t, program)
	_, list, has := strings.Cut(text, "Available commands:")
	if !has {
		return []usage{parseUsage(t, text, program)}
	}
	for _, m := range verb.FindAllStringSubmatch(list, -1) {
		all = append(all, parseUsage(t, help(t, program, m[1]), program, m[1]))
	}
	if len(all) == 0 {
		t.Fatalf("%s has no commands:\n%s", program, text)
	}
	return all
}

func parseUsage(t testing.TB, text string, argv ...string) usage {
	t.Helper()
	line, _, _ := strings.Cut(text, "\n")
	operands, found := strings.CutPrefix(line, "usage: "+strings.Join(argv, " ")+" [OPTION]…")
	if !found {
		t.Fatalf("%v: no usage in %q", argv, line)
	}
	u := usage{argv: argv, min: len(strings.Fields(optional.ReplaceAllString(operands, ""))), monitors: strings.Contains(text, plugin)}
	u.max = u.min
	for _, o := range optional.FindAllString(operands, -1) {
		if !strings.HasPrefix(o, "[-") {
			u.max++
		}
	}
	if strings.Contains(operands, "…") {
		u.max = -1
	}
	return u
}

// each runs every usage of the script's program with so many operands, and
// demands the status of wrong usage, one line on stderr, and silence on stdout,
// where a monitoring plugin says that it cannot tell.
func each(ts *testscript.TestScript, count func(usage) int) {
	t := ts.Value("t").(testing.TB)
	for _, u := range usages(t, ts.Getenv("PROGRAM")) {
		n := count(u)
		if n < 0 {
			continue
		}
		argv := append([]string{}, u.argv...)
		for range n {
			argv = append(argv, "operand")
		}
		err := ts.Exec("env", append([]string{"-i", "PATH=" + ts.Getenv("PATH")}, argv...)...)
		said, told := ts.ReadFile("stderr"), ts.ReadFile("stdout")
		want, silent := ts.Getenv("USAGE"), told == ""
		if u.monitors {
			want, silent = "3", strings.HasPrefix(told, "PGPIPES UNKNOWN - ") && strings.Count(told, "\n") == 1
		}
		if got := script.Status(err); want != itoa(got) || !silent || !oneProblem(said, u.argv[0]) {
			ts.Fatalf("%v: status %d, stderr %q, stdout %q", argv, got, said, told)
		}
	}
}

// surplus gives one operand more than is taken.
func surplus(ts *testscript.TestScript, _ bool, _ []string) {
	each(ts, func(u usage) int {
		if u.max < 0 {
			return -1
		}
		return u.max + 1
	})
}

// missing gives one operand less than is needed.
func missing(ts *testscript.TestScript, _ bool, _ []string) {
	each(ts, func(u usage) int { return u.min - 1 })
}

// oneProblem holds for one line that begins with the program's name, perhaps
// with a hint below it.
func oneProblem(said, program string) bool {
	line, rest, ended := strings.Cut(said, "\n")
	return ended && strings.HasPrefix(line, program+": ") &&
		(rest == "" || strings.HasPrefix(rest, program+": hint: ") && strings.Count(rest, "\n") == 1)
}

// options demands that --help names every option with what it does, and every
// setting of the environment.
func options(ts *testscript.TestScript, _ bool, _ []string) {
	t := ts.Value("t").(testing.TB)
	for _, u := range usages(t, ts.Getenv("PROGRAM")) {
		text := help(t, u.argv...)
		for _, want := range []string{"--config=", "PGPIPES_CONFIG", "--timeout=", "PGPIPES_TIMEOUT", "-v, --verbose", "-h, --help", "--version", "Exit status: 0 done"} {
			if !strings.Contains(text, want) && !(u.monitors && strings.HasPrefix(want, "Exit status")) {
				ts.Fatalf("%v --help does not mention %s", u.argv, want)
			}
		}
		for _, line := range strings.Split(text, "\n") {
			if len(line) > 100 {
				ts.Fatalf("%v --help: a line of %d bytes: %s", u.argv, len(line), line)
			}
		}
	}
}

package script

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

type command = func(ts *testscript.TestScript, neg bool, args []string)

// Commands are the additions to the language.
func Commands() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	return map[string]command{
		"status": func(ts *testscript.TestScript, _ bool, args []string) {
			need(ts, args, 2, "status N COMMAND…")
			status(ts, args[0], args[1:])
		},
		"powerless": func(ts *testscript.TestScript, _ bool, args []string) {
			need(ts, args, 2, "powerless N COMMAND…")
			status(ts, args[0], append(Powerless(), args[1:]...))
		},
		"within":    within,
		"segment":   segment,
		"pgdata":    dataDirectory,
		"backup":    backup,
		"stream":    stream,
		"flip":      flip,
		"cut":       cut,
		"fifo":      fifo,
		"remember":  remember,
		"unchanged": unchanged,
		"tree":      tree,
		"appears":   appears,
	}
}

func need(ts *testscript.TestScript, args []string, n int, usage string) {
	if len(args) < n {
		ts.Fatalf("usage: %s", usage)
	}
}

func status(ts *testscript.TestScript, want string, argv []string) {
	number, err := strconv.Atoi(want)
	if err != nil {
		ts.Fatalf("not a status: %s", want)
	}
	argv = append(bounded(patience), argv...)
	if got := Status(ts.Exec(argv[0], argv[1:]...)); got != number {
		ts.Fatalf("%v: status %d, want %d", argv, got, number)
	}
}

// bounded is a command before a command that kills it after a time.
func bounded(limit time.Duration) []string {
	return []string{"timeout", "--foreground", "-s", "KILL", fmt.Sprint(limit.Seconds())}
}

// Status is the exit status that a shell would see, or -1 for an error that is
// none of the command's.
func Status(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &exit):
		return -1
	}
	if wait := exit.Sys().(syscall.WaitStatus); wait.Signaled() {
		return 128 + int(wait.Signal())
	}
	return exit.ExitCode()
}

// Powerless is a command before a command that runs it without the rights that
// let the superuser read and write what permissions forbid.
func Powerless() []string {
	if os.Geteuid() != 0 {
		return nil
	}
	return []string{"setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"}
}

func within(ts *testscript.TestScript, _ bool, args []string) {
	need(ts, args, 3, "within TIME N COMMAND…")
	limit, err := time.ParseDuration(args[0])
	ts.Check(err)
	start := time.Now()
	status(ts, args[1], append(bounded(limit), args[2:]...))
	if took := time.Since(start); took > limit {
		ts.Fatalf("%v: took %s, at most %s allowed", args[2:], took, limit)
	}
}

// output makes text the standard output of the last command.
func output(ts *testscript.TestScript, text string) {
	_, err := fmt.Fprint(ts.Stdout(), text)
	ts.Check(err)
}

// Package crash kills the programs at every system call, and makes every system
// call fail, and then looks at what they have promised: nothing half-written
// under a final name, status 0 only for what is whole and durable, and the next
// attempt succeeds.
package crash

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgpipes/test/script"
	"pgpipes/test/tracer"
)

func TestMain(m *testing.M) {
	if without := os.Getenv(filterVariable); without != "" {
		fmt.Fprintln(os.Stderr, filtered(strings.Split(without, ","), os.Args[1:]))
		os.Exit(1)
	}
	if _, err := exec.LookPath("strace"); err != nil {
		fmt.Fprintln(os.Stderr, "these tests need strace:", err)
		os.Exit(1)
	}
	script.Main(m, "wal-push", "wal-get", "repo", "expire", "base-restore")
}

// A run is a program to be run.
type run struct {
	dir     string   // its current directory
	argv    []string // program first
	stdin   string   // a file, "" for none
	without []string // what the system cannot do, see filtered
}

// command is the run with options of strace, or without strace if there are none.
func (r run) command(options ...string) *exec.Cmd {
	argv := append([]string{filepath.Join(script.Programs(), r.argv[0])}, r.argv[1:]...)
	if len(options) > 0 {
		argv = slices.Concat([]string{"strace", "--seccomp-bpf", "-f", "-qq"}, options, argv)
	}
	env := []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + r.dir, "GOMAXPROCS=1"}
	if len(r.without) > 0 {
		argv = append([]string{os.Args[0]}, argv...)
		env = append(env, filterVariable+"="+strings.Join(r.without, ","))
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = r.dir, env
	return cmd
}

// fed calls f with the command's standard input open.
func (r run) fed(cmd *exec.Cmd, f func() error) error {
	if r.stdin == "" {
		return f()
	}
	file, err := os.Open(r.stdin)
	if err != nil {
		return err
	}
	defer file.Close()
	cmd.Stdin = file
	return f()
}

// do runs a command and returns its status and what it said.
func (r run) do(cmd *exec.Cmd) (status int, said string, err error) {
	var out []byte
	err = r.fed(cmd, func() (err error) {
		out, err = cmd.CombinedOutput()
		return err
	})
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, "", err
	}
	return script.Status(err), string(out), nil
}

// A result is how a traced program ended.
type result struct {
	tracer.Result
	said string
}

// trace runs the program to its end, or to where it is interrupted.
func (r run) trace(at tracer.Interruption) (res result, err error) {
	cmd := r.command()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	launchers := min(len(r.without), 1)
	err = r.fed(cmd, func() (err error) {
		res.Result, err = tracer.Run(cmd, launchers, at)
		return err
	})
	res.said = said.String()
	return res, err
}

// A call is a system call that returned.
type call struct {
	name string
	text string // with its arguments and result
}

var line = regexp.MustCompile(`^(\d+) +(?:<\.\.\. )?(\w+)(.*)$`)

// log runs the program to its end and returns its system calls in the order in
// which they returned.
func (r run) log(options ...string) (calls []call, err error) {
	file := filepath.Join(r.dir, ".strace")
	defer os.Remove(file)
	status, said, err := r.do(r.command(append([]string{"-y", "-o", file}, options...)...))
	if err == nil && status != 0 {
		err = fmt.Errorf("%v: status %d: %s", r.argv, status, said)
	}
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(file)
	begun := map[string]string{} // by thread: a call that has not returned
	for l := range strings.Lines(string(text)) {
		m := line.FindStringSubmatch(strings.TrimSuffix(l, "\n"))
		if m == nil {
			continue
		}
		if start, unfinished := strings.CutSuffix(m[3], " <unfinished ...>"); unfinished {
			begun[m[1]] = m[2] + start
			continue
		}
		text := m[2] + m[3]
		if rest, resumed := strings.CutPrefix(m[3], " resumed>"); resumed {
			text = begun[m[1]] + rest
		}
		calls = append(calls, call{m[2], text})
	}
	return calls, err
}

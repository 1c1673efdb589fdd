package e2e

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgpipes/test/slowfs"
)

// scripted is one of the scripts among programs that are scripts themselves: what
// they do is told in the shell's language, by name. They may leave files in the
// directory $HERE, which is $TMPDIR as well.
func scripted(t *testing.T, script string, programs map[string]string, args ...string) (cmd *exec.Cmd, dir string) {
	t.Helper()
	dir = t.TempDir()
	shell(t, "cp", "-p", "../../scripts/"+script, "../../scripts/lib.sh", dir)
	for name, text := range programs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	cmd = exec.CommandContext(ctx, filepath.Join(dir, script), args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HERE="+dir, "TMPDIR="+dir)
	return cmd, dir
}

// restoring is restore among programs that find a backup, and do not restore it.
func restoring(t *testing.T, programs map[string]string, args ...string) (cmd *exec.Cmd, dir string) {
	t.Helper()
	all := map[string]string{
		"wal-push": "", "wal-get": "",
		"manifest":     `case $1 in list) printf 'b\t\n' ;; using) echo restore/n ;; esac`,
		"repo":         `[ "$1" != rm ] || echo "$4" >"$HERE/removed"`,
		"base-restore": `echo "$@" >"$HERE/options"; echo 'not today' >&2; exit 111`,
	}
	maps.Copy(all, programs)
	return scripted(t, "restore", all, append([]string{"-r", "/r", "-D", "data"}, args...)...)
}

// tidy makes sure that a script has removed its temporary files.
func tidy(t *testing.T, dir string) {
	t.Helper()
	if left, err := filepath.Glob(filepath.Join(dir, "pgpipes-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// A restore that a signal ends takes its note back, although all that it had begun
// went well, and dies of that signal.
func TestRestoreEndedBySignals(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGPIPE, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			manifest := `case $1 in list) printf 'b\t\n' ;; using) echo restore/n; kill -` + itoa(int(signal)) + ` $PPID ;; esac`
			cmd, dir := restoring(t, map[string]string{"manifest": manifest})
			if r := finish(t, cmd); r.status != 128+int(signal) || exists(filepath.Join(dir, "options")) {
				t.Error(r)
			}
			if removed, err := os.ReadFile(filepath.Join(dir, "removed")); string(removed) != "restore/n\n" {
				t.Errorf("the note is not taken back: %v", err)
			}
			tidy(t, dir)
		})
	}
}

// A signal that comes when the pipeline is begun, and its stage not yet, ends that, too.
func TestScriptEndedEarly(t *testing.T) {
	t.Parallel()
	cmd, dir := restoring(t, map[string]string{
		"manifest":     `case $1 in list) echo $PPID >"$HERE/script"; printf 'b\t\n' ;; using) echo restore/n ;; esac`,
		"sed":          `[ "$1" != 's/,$//' ] || { kill "$(cat "$HERE/script")"; sleep 0.3; }; exec /bin/sed "$@"`,
		"base-restore": "exec sleep 60",
	}, "--source", "true")
	begun := time.Now()
	if r := finish(t, cmd); r.status != 128+int(syscall.SIGTERM) {
		t.Error(r)
	}
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	tidy(t, dir)
}

// Nobody reads what a script has to say: that ends it, and it cleans up.
func TestScriptWhoseReaderLeaves(t *testing.T) {
	t.Parallel()
	cmd, dir := restoring(t, map[string]string{"base-restore": "exit 111"})
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	reader.Close()
	cmd.Stderr = writer
	if r := finish(t, cmd); r.status != 128+int(syscall.SIGPIPE) || !exists(filepath.Join(dir, "removed")) {
		t.Error(r)
	}
	tidy(t, dir)
}

// Standard error and input that are closed are as good as /dev/null.
func TestScriptWithClosedStreams(t *testing.T) {
	t.Parallel()
	for name, closed := range map[string]string{"error": "2>&-", "input": "<&-", "both": "<&- 2>&-"} {
		t.Run(name, func(t *testing.T) {
			cmd, dir := restoring(t, nil)
			cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", `exec "$0" "$@" ` + closed}, cmd.Args...)
			if r := finish(t, cmd); r.status != 111 || !exists(filepath.Join(dir, "options")) {
				t.Error(r)
			}
		})
	}
}

// The scripts are as talkative as the programs are with the same setting.
func TestScriptVerbosity(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		setting, config string
		options         []string
		status          int
		says            bool
	}{
		"unset":        {"", "", nil, 111, false},
		"0":            {"0", "", nil, 111, false},
		"false":        {"false", "", nil, 111, false},
		"1":            {"1", "", nil, 111, true},
		"true":         {"true", "", nil, 111, true},
		"neither":      {"loud", "", nil, 100, false},
		"option":       {"0", "", []string{"-v"}, 111, true},
		"in a file":    {"", "1", nil, 111, true},
		"not the file": {"0", "1", nil, 111, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cmd, dir := restoring(t, nil, test.options...)
			if test.config != "" {
				if err := os.WriteFile(filepath.Join(dir, "config"), []byte("PGPIPES_VERBOSE="+test.config+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				cmd.Args = append(cmd.Args, "--config", "config")
			}
			cmd.Env = append(cmd.Env, "PGPIPES_VERBOSE="+test.setting)
			if r := finish(t, cmd); r.status != test.status || strings.Contains(r.err, "b: restoring to") != test.says {
				t.Error(r)
			}
		})
	}
}

// Values that begin with a dash reach the program as values.
func TestRestoreOptionsWithDashes(t *testing.T) {
	t.Parallel()
	cmd, dir := restoring(t, nil, "--only-database", "-rf", "--tablespace-root", "-r", "-j", "2")
	r := finish(t, cmd)
	options, err := os.ReadFile(filepath.Join(dir, "options"))
	if want := " --only-database=-rf --tablespace-root=-r --jobs=2\n"; err != nil || !strings.HasSuffix(string(options), want) {
		t.Errorf("%q, want %q, %v; %s", options, want, err, r)
	}
}

// Where temporary files do not fit it is said where that is.
func TestScriptWithoutRoom(t *testing.T) {
	t.Parallel()
	disk := slowfs.MountDisk(t, 1)
	cmd, _ := restoring(t, map[string]string{"manifest": "exec head -c 2000000 /dev/zero"})
	cmd.Env = append(cmd.Env, "TMPDIR="+disk.Dir)
	r := finish(t, cmd)
	if want := "restore: no room in " + disk.Dir + "/pgpipes-restore."; r.status == 0 || !strings.Contains(r.err, want) || !strings.Contains(r.err, "TMPDIR") {
		t.Errorf("%s\nwant %q", r, want)
	}
	tidy(t, disk.Dir)
}

// What the programs would refuse after hours is refused before anything is begun.
func TestBackupRefusesOptionsAtOnce(t *testing.T) {
	t.Parallel()
	for _, options := range [][]string{
		{"-l", "99"}, {"-l", "x"}, {"-c", "gzip", "-l", "19"}, {"-j", "1000"},
		{"--keep-within", "30"}, {"--keep-within", "99999999999999999999d"},
		{"--keep-last", "99999999999999999999"}, {"--keep-last", "0"}, {"--keep-last", "-1"}, {"--wait", "soon"}, {"--keep-daily", "x"},
		{"--wal-keep", "0"}, {"--keep-tag", "a/b"}, {"--since="}, {"--label", "last"}, {"--label="},
	} {
		t.Run(strings.Join(options, " "), func(t *testing.T) {
			dir := t.TempDir()
			cmd := exec.Command(filepath.Join(programs(t), "backup"), append([]string{"-r", "repo", "-D", "."}, options...)...)
			cmd.Dir = dir
			if r := finish(t, cmd); r.status != 100 || strings.Count(r.err, "\n") != 1 {
				t.Error(r)
			}
			if exists(filepath.Join(dir, "repo")) {
				t.Error("something was begun")
			}
		})
	}
}

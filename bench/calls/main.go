// Calls runs an archive_command or a restore_command for one WAL file after the
// other, as a server does, and measures each call. It is a part of bench/run.
//
//	calls [OPTION]… push|get COMMAND NAME…
//
// The current directory stands for the data directory. In COMMAND %p and %f are
// replaced, and sh -c runs it. For push pg_wal/archive_status/NAME.ready is made
// if it is missing, and renamed to NAME.done after the call. What is fetched is
// always called pg_wal/RECOVERYXLOG or RECOVERYHISTORY.
//
// The result is one line: seconds in calls, seconds of CPU, KB of the largest
// process, number of calls, and then the milliseconds of each. CPU and memory
// are those of all processes that descend from COMMAND; those that go on in the
// background are waited for.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

var (
	out    = flag.String("o", "", "write the result to `FILE`")
	pause  = flag.Duration("pause", 0, "how long the server is busy between calls")
	status = flag.Int("status", 0, "the status that every call should end with")
	like   = flag.String("like", "", "what is fetched should be like the file of the same name in `DIR`")
)

func main() {
	flag.Parse()
	if err := run(flag.Args()); err != nil {
		fmt.Fprintf(os.Stderr, "calls: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 3 || (args[0] != "push" && args[0] != "get") {
		return fmt.Errorf("usage: calls [OPTION]… push|get COMMAND NAME…")
	}
	play := get
	if args[0] == "push" {
		play = push
	}
	children, err := adopt()
	if err != nil {
		return err
	}
	latencies, err := playAll(play, children, args[1], args[2:])
	if left := children.waitAll(patience); err == nil {
		err = left
	}
	if err != nil {
		return err
	}
	return os.WriteFile(*out, []byte(result(latencies, children.used())), 0o600)
}

// A player does for one file what the server does, and says how long the call
// took.
type player func(c *children, command, name string) (time.Duration, error)

func playAll(play player, c *children, command string, names []string) ([]time.Duration, error) {
	var latencies []time.Duration
	for i, name := range names {
		if i > 0 {
			time.Sleep(*pause)
		}
		latency, err := play(c, command, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		latencies = append(latencies, latency)
	}
	return latencies, nil
}

// push is the archiver's part (pgarch.c:pgarch_ArchiverCopyLoop).
func push(c *children, command, name string) (time.Duration, error) {
	status := filepath.Join("pg_wal", "archive_status", name)
	ready, err := os.OpenFile(status+".ready", os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	ready.Close()
	latency, err := call(c, command, name, filepath.Join("pg_wal", name))
	if err != nil {
		return 0, err
	}
	return latency, os.Rename(status+".ready", status+".done")
}

// get is recovery's part (xlogarchive.c:RestoreArchivedFile).
func get(c *children, command, name string) (time.Duration, error) {
	path := filepath.Join("pg_wal", "RECOVERYXLOG")
	if strings.HasSuffix(name, ".history") {
		path = filepath.Join("pg_wal", "RECOVERYHISTORY")
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return 0, err
	}
	latency, err := call(c, command, name, path)
	if err == nil && *like != "" {
		err = same(path, filepath.Join(*like, name))
	}
	return latency, err
}

// call runs the command for one file.
func call(c *children, command, name, path string) (time.Duration, error) {
	begun := time.Now()
	got, err := c.shell(strings.NewReplacer("%p", path, "%f", name, "%%", "%").Replace(command))
	latency := time.Since(begun)
	if err == nil && got != *status {
		err = fmt.Errorf("status %d, not %d", got, *status)
	}
	return latency, err
}

// same compares sizes, and a part of the contents: to read all of it would give
// those that fetch ahead time to do so.
func same(path, original string) error {
	const sample = 64 << 10
	var parts [2][]byte
	var sizes [2]int64
	for i, path := range []string{path, original} {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		sizes[i] = info.Size()
		if parts[i], err = io.ReadAll(io.LimitReader(f, sample)); err != nil {
			return err
		}
	}
	if sizes[0] != sizes[1] || !bytes.Equal(parts[0], parts[1]) {
		return fmt.Errorf("it is not like %s", original)
	}
	return nil
}

func result(latencies []time.Duration, u usage) string {
	var total time.Duration
	var each strings.Builder
	for _, l := range latencies {
		total += l
		fmt.Fprintf(&each, " %.3f", float64(l)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.6f %.6f %d %d%s\n", total.Seconds(), u.cpu.Seconds(), u.memory, len(latencies), each.String())
}

// Package model drives the real wal-push and wal-get through random schedules,
// as a server's archiver and its recovery would call them, while the world
// around them fails: processes are killed, stopped and cut short, repositories
// go away, are exchanged, fill up and lose what nobody was promised, the state
// directory is lost, spoilt and copied back, files are recycled, the server
// crashes and switches timelines.
//
// # What must hold
//
// For every file for which a wal-push returned 0 the repository has it, whole,
// from that moment on. No name ever has two contents. A call in a world that is
// healthy succeeds, whatever was before. Nothing in the data directory is
// touched. A wal-get delivers the right bytes, says "absent" only of what is
// absent with nothing behind it, and stops the server in every other case.
//
// A schedule follows from its seed:
//
//	go test ./test/model -seed 4711
package model

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pgpipes/test/script"
)

var (
	oneSeed = flag.Uint64("seed", 0, "run the schedule of this seed only, and show it")
	soak    = flag.Duration("soak", 0, "run new schedules for this long, and the long version of everything else")
	tools   = flag.String("programs", "", "use the programs in this directory, and do not build any")
)

func TestMain(m *testing.M) {
	flag.Parse()
	// What a program leaves running becomes a child of this process, so that it
	// is seen.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "prctl:", err)
		os.Exit(1)
	}
	if *tools != "" {
		os.Exit(m.Run())
	}
	script.Main(m, "wal-push", "wal-get")
}

// programs is the directory of the programs.
func programs() string {
	if *tools != "" {
		return *tools
	}
	return script.Programs()
}

// shortRun is how long make test runs schedules, always the same ones.
const shortRun = 16 * time.Second

func TestSchedules(t *testing.T) {
	switch {
	case *oneSeed != 0:
		w, err := run(*oneSeed)
		t.Logf("schedule %d:\n%s", *oneSeed, strings.Join(w.log, "\n"))
		if err != nil {
			t.Error(err)
		}
	case *soak > 0:
		runMany(t, uint64(time.Now().UnixNano()), *soak)
	default:
		runMany(t, 1, shortRun)
	}
}

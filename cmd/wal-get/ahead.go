package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pgpipes/lib/cli"
	"pgpipes/lib/prefetch"
	"pgpipes/lib/store"
	"pgpipes/lib/wait"
	"pgpipes/lib/wal"
)

// ahead are the options of fetching segments before they are asked for.
type ahead struct {
	cli.State
	Ahead    int      `long:"ahead" env:"PGPIPES_AHEAD" default:"16" value-name:"N" description:"while the server replays a segment, fetch up to N that follow it in the background; 0 for none"`
	Jobs     cli.Jobs `short:"j" long:"jobs" env:"PGPIPES_JOBS" default:"0" default-mask:"4" value-name:"N" description:"fetch so many of them at once, 16 at most"`
	Prefetch bool     `long:"prefetch" description:"fetch what follows the segment NAME for the calls to come, and end"`
	Detached bool     `long:"detached" hidden:"true"` // this is the background
}

func (a ahead) check() error {
	if a.Ahead < 0 {
		return cli.Usagef("--ahead is at least 0")
	}
	return nil
}

const (
	usualJobs = 4
	mostJobs  = 16
)

// jobs is how many segments are fetched at once: 0 is for the usual number, as
// elsewhere.
func (a ahead) jobs() int { return min(a.Jobs.Or(usualJobs), mostJobs) }

// lifetime bounds the background. An ordinary window takes seconds.
const lifetime = 5 * time.Minute

// linger is how long the background waits for the server to take a segment when
// there are enough. A new one would have to find its way to the repository first.
const linger = time.Second

// unwind is how long the background has to end in order.
const unwind = 500 * time.Millisecond

// cache is where segments that were fetched ahead are, nil for calls that have
// nothing to do with it: it serves recovering servers, which ask from within
// their data directory and under this name (xlogarchive.c:RestoreArchivedFile).
func cache(p *cli.Process, r request) *prefetch.Cache {
	if options.Ahead == 0 || r.name.Kind != wal.Segment || filepath.Base(r.path) != "RECOVERYXLOG" || r.here == nil {
		return nil
	}
	dir := options.State.Open(p)
	if dir == nil {
		return nil
	}
	c, err := prefetch.OpenCache(dir)
	if err != nil {
		p.Verbosef("nothing is fetched ahead: %v", err)
		return nil
	}
	return c
}

// prune removes what an earlier recovery has left, at the beginning and the end
// of one, where histories are asked for.
func prune(p *cli.Process) {
	if dir := options.State.Open(p); dir != nil && options.Ahead > 0 {
		wait.Within(cachePatience, func() { _ = prefetch.PruneCache(dir) })
	}
}

// cachePatience is how long the cache may take. It only saves time.
const cachePatience = 5 * time.Second

// fetchedAhead has the cache deliver the file, if it has it.
func fetchedAhead(ctx context.Context, c *prefetch.Cache, r request) bool {
	if c == nil {
		return false
	}
	answer := make(chan bool, 1)
	wait.Within(cachePatience, func() {
		answer <- c.Deliver(wait.WithWatch(ctx, nil), r.locations, *r.here, r.name, r.path)
	})
	select {
	case delivered := <-answer:
		return delivered
	default:
		return false
	}
}

// goAhead starts the background if it can be of use. That it cannot be started
// is no failure.
func goAhead(ctx context.Context, p *cli.Process, c *prefetch.Cache, r request) {
	if !c.Low(ctx, r.locations, r.name, options.Ahead) {
		return
	}
	err := refuseInit()
	if err == nil {
		err = background(r)
	}
	if err != nil {
		p.Verbosef("nothing is fetched ahead: %v", err)
		return
	}
	p.Verbosef("%s: up to %d segments after it are fetched in the background", r.name, options.Ahead)
}

// refuseInit is an error where the server is the first process of a container.
// It inherits our child then, and takes one that was killed for a backend that
// crashed (postmaster.c:HandleChildCrash).
func refuseInit() error {
	init, _ := os.ReadFile("/proc/1/comm") // may be hidden
	server, _ := os.ReadFile("postmaster.pid")
	pid, _, _ := strings.Cut(string(server), "\n")
	switch strings.TrimSpace(string(init)) {
	case "postgres", "postmaster":
		pid = "1"
	}
	if pid == "1" {
		return fmt.Errorf("the server is process 1, and would be the parent of the background")
	}
	return nil
}

// background starts this program as --prefetch in a session of its own, with no
// descriptor of the server's. Nobody waits for it: this process ends, and it is
// the system's.
func background(r request) error {
	argv := []string{os.Args[0], "--prefetch", "--detached", fmt.Sprintf("--ahead=%d", options.Ahead), fmt.Sprintf("--jobs=%d", options.jobs())}
	for _, location := range r.locations {
		there, err := store.Absolute(location)
		if err != nil {
			return err
		}
		argv = append(argv, "--repository="+there)
	}
	if options.Dir != "" {
		dir, err := filepath.Abs(options.Dir)
		if err != nil {
			return err
		}
		argv = append(argv, "--state="+dir)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	if err := keepDescriptors(); err != nil {
		return err
	}
	child, err := os.StartProcess("/proc/self/exe", append(argv, r.name.String()), &os.ProcAttr{
		Dir: "/",
		// The settings of a --config file are among these by now.
		Env:   slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "PGPIPES_CONFIG=") }),
		Files: []*os.File{null, null, null},
		Sys:   &unix.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return err
	}
	return child.Release()
}

// keepDescriptors closes to programs started from now on what this one has
// open: a server up to 15 lets its commands have descriptors of its own.
func keepDescriptors() error {
	if unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return nil
	}
	open, err := os.ReadDir("/proc/self/fd") // Linux before 5.11
	for _, e := range open {
		var fd int
		if _, err := fmt.Sscan(e.Name(), &fd); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return err
}

// fill is the work of --prefetch.
func fill(ctx context.Context, p *cli.Process, locations []string, name wal.Name, more []string) error {
	if len(more) > 0 {
		return cli.Usagef("unexpected operand: %s", more[0])
	}
	if name.Kind != wal.Segment {
		return cli.Usagef("%s: only segments are fetched ahead", name)
	}
	dir := options.State.Open(p)
	if dir == nil {
		return cli.Usagef("without a state directory nothing can be fetched ahead")
	}
	c, err := prefetch.OpenCache(dir)
	if err != nil {
		return err
	}
	// Segments are decoded side by side; each on all cores would take memory
	// and gain nothing.
	runtime.GOMAXPROCS(min(runtime.GOMAXPROCS(0), options.jobs()))
	supply := prefetch.Supply{Segments: options.Ahead, Jobs: options.jobs()}
	if options.Detached {
		supply.Linger = linger
	}
	fill := func(ctx context.Context) error {
		n, err := c.Fill(ctx, locations, name, supply)
		p.Verbosef("%s: segments fetched that follow it: %d", name, n)
		return err
	}
	if options.Detached {
		detached(fill)
		return nil
	}
	return fill(ctx)
}

// detached does the work of the background, which ends in success whatever
// happens: where a server inherits it, any other status is a crash to it. Of a
// signal it does not die but ends early, and it gives up what hangs.
func detached(work func(context.Context) error) {
	signals := []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT}
	signal.Ignore(signals...) // nobody else is to be told of them
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, lifetime)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		_ = work(ctx) // nobody would read it, and the next wal-get sees for itself
		close(ended)
	}()
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	select {
	case <-ended:
	case <-time.After(unwind):
	}
}

// Package cli is the process around every program: options, streams, messages,
// exit statuses, signals and progress. Nothing else prints or exits.
//
// # The rules of the interface
//
// Standard output is data, standard error is for people. A program is silent
// when all is well. A problem is one line, `name: what: why`, in lower case and
// without a full stop; a line `name: hint: …` follows where the user can do
// something about it. The exit statuses are in status.go. Every option can come
// from the environment (PGPIPES_…) or, with --config, from a file of such
// lines; the command line wins over the environment, which wins over the file.
package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/jessevdk/go-flags"
	"golang.org/x/sys/unix"

	"pgpipes/lib/wait"
)

// Many operands: no upper limit.
const Many = -1

// A Program is one main. It has either Run or Commands.
type Program struct {
	Name        string
	Summary     string // one line
	Description string // what --help says below it
	Options     any    // pointer to a struct with go-flags tags, or nil
	Action
	Commands []Command
	// Timeout bounds each operation unless --timeout does; 0 is for the bound
	// that suits most programs.
	Timeout time.Duration
	// Failure, unless 0, is the status in place of all but 0 and 1.
	Failure int
	// Verdict, if not nil, decides what an error of the work means, being too
	// late among them, unless that is decided already (Usagef, No, Failure).
	Verdict func(error) error
	// Server says that PostgreSQL runs the program. A log that nobody reads must
	// not kill it: by a signal it would count as more than a failure.
	Server bool
}

// A Command is one verb of a program.
type Command struct {
	Name, Summary, Description string
	Options                    any
	// Wraps says that the second operand begins another command, whose options
	// are not ours.
	Wraps bool
	// Unknown, if not nil, makes it a command that a monitoring system runs: its
	// statuses are severities, and Unknown says what standard output gets, and
	// which of them it is, when an error keeps it from telling.
	Unknown func(err error) (text string, s Severity)
	Action
}

// An Action is what is done with operands: how they are named in the synopsis,
// how many there may be (Max may be Many), and the work.
type Action struct {
	Operands string
	Min, Max int
	Run      func(ctx context.Context, p *Process, operands []string) error
}

// collectLate lets garbage grow to four times what is in use.
const collectLate = 400

// common are the options of every program.
type common struct {
	Config  string         `long:"config" env:"PGPIPES_CONFIG" value-name:"FILE" description:"read PGPIPES_NAME=value lines from FILE"`
	Timeout *time.Duration `long:"timeout" env:"PGPIPES_TIMEOUT" value-name:"TIME" description:"give up when a single operation takes longer, 0 for never"`
	Verbose bool           `short:"v" long:"verbose" env:"PGPIPES_VERBOSE" description:"say what is being done"`
	Help    bool           `short:"h" long:"help" description:"show this help"`
	Version bool           `long:"version" description:"show the version"`
}

// Main runs the program and ends the process with its status.
func Main(program Program) {
	// A crash must not look like an answer: status 2, Go's own for a panic,
	// tells a recovering server that a file is absent. SIGABRT stops it.
	debug.SetTraceback("crash")
	// go-flags would print completions and exit 0 with nothing done.
	os.Unsetenv("GO_FLAGS_COMPLETION")

	if program.Server {
		signal.Ignore(unix.SIGPIPE)
		// A call is over before the few buffers it allocates are worth a
		// collection; measured, one costs a sixth of the time of a wal-get.
		debug.SetGCPercent(collectLate)
	}
	p := newProcess(filepath.Base(os.Args[0]))
	ctx, cancel := context.WithCancelCause(wait.WithWatch(context.Background(), &p.dog.watch))
	p.signals = watchSignals(cancel, p.dog)
	e := ending{program: &program, process: p, cancel: cancel}
	p.dog.set(program.usualBounds())
	go e.whenLate()
	err := p.sayUnknown(program.judge(outcome(ctx, program.run(ctx, p, os.Args[1:]))))
	if ferr := p.finish(); err == nil || ferr != nil && status(err) == statusNo {
		err = ferr // findings that could not be written are no answer
	}
	e.end(err)
}

// judge has the program say what an error means.
func (g *Program) judge(err error) error {
	if err == nil || g.Verdict == nil || errors.As(err, new(statusError)) {
		return err
	}
	return g.Verdict(err)
}

func (g *Program) run(ctx context.Context, p *Process, args []string) error {
	var c common
	parser, err := g.parser(&c)
	if err != nil {
		return err
	}
	config := configFile(g.own(args))
	unreadable := useConfig(config)
	operands, err := parser.ParseArgs(args)
	if parser.Active != nil {
		p.serve(g.command(parser.Active.Name))
	}
	switch {
	case unreadable != nil:
		return unreadable
	case (c.Help || c.Version) && g.Server && (err != nil || len(operands) > 0):
		// -h is a host elsewhere: a server must not take help for success.
		return Usagef("--help and --version stand alone")
	case c.Help: // also where something else is wrong
		return g.help(p, parser)
	case c.Version:
		return p.printVersion()
	case err != nil:
		return usageError(err)
	}
	if c.Config != config && c.Config != "" {
		return Usagef("--config comes before %s", parser.Active.Name)
	}
	if err := g.bound(p.dog, c.Timeout); err != nil {
		return err
	}
	p.verbose = c.Verbose
	action := g.Action
	if active := parser.Active; active != nil {
		command := g.command(active.Name)
		action = command.Action
		if command.Wraps {
			if operands, err = parseWrapped(command, operands); err != nil {
				return err
			}
		}
	}
	if err := action.check(operands); err != nil {
		return err
	}
	return action.Run(ctx, p, operands)
}

func (g *Program) parser(c *common) (*flags.Parser, error) {
	parser := flags.NewNamedParser(g.Name, flags.PassDoubleDash)
	if g.Options != nil {
		if _, err := parser.AddGroup("Options", "", g.Options); err != nil {
			return nil, err
		}
	}
	if _, err := parser.AddGroup("Common options", "", c); err != nil {
		return nil, err
	}
	parser.FindOptionByLongName("timeout").DefaultMask = g.usualBounds().String()
	for _, command := range g.Commands {
		options := command.Options
		if options == nil {
			options = &struct{}{}
		}
		added, err := parser.AddCommand(command.Name, command.Summary, command.Description, options)
		if err != nil {
			return nil, err
		}
		added.PassAfterNonOption = command.Wraps
	}
	return parser, nil
}

// own are the arguments before those of a wrapped command.
func (g *Program) own(args []string) []string {
	wraps := func(arg string) bool {
		return slices.ContainsFunc(g.Commands, func(c Command) bool { return c.Wraps && c.Name == arg })
	}
	if i := slices.IndexFunc(args, wraps); i >= 0 {
		return args[:i]
	}
	return args
}

func (g *Program) command(name string) Command {
	i := slices.IndexFunc(g.Commands, func(c Command) bool { return c.Name == name })
	return g.Commands[i]
}

// parseWrapped reads the command's own options between its first operand and
// the command it wraps.
func parseWrapped(command Command, operands []string) ([]string, error) {
	if len(operands) == 0 || command.Options == nil {
		return operands, nil
	}
	parser := flags.NewParser(command.Options, flags.PassDoubleDash|flags.PassAfterNonOption)
	rest, err := parser.ParseArgs(operands[1:])
	if err != nil {
		return nil, usageError(err)
	}
	return append(operands[:1], rest...), nil
}

func (a Action) check(operands []string) error {
	switch n := len(operands); {
	case n < a.Min && a.Min == 1:
		return Usagef("what to work on is missing: %s", a.Operands)
	case n < a.Min:
		return Usagef("too few operands: %s", a.Operands)
	case a.Max != Many && n > a.Max:
		return Usagef("unexpected operand: %s", operands[a.Max])
	}
	return nil
}

func usageError(err error) error {
	var ferr *flags.Error
	if errors.As(err, &ferr) && ferr.Type == flags.ErrCommandRequired {
		return Usagef("which command? --help lists them")
	}
	return Usagef("%v", err)
}

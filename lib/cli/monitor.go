package cli

import "fmt"

// A Severity is what a command that a monitoring system runs says of what it has
// looked at; the number is its exit status (as the plugins of Nagios and of its
// descendants have it). As an error it ends the program with that and without
// another word.
type Severity int

// Severities, each worse than the one before but for Unknown.
const (
	OK Severity = iota
	Warning
	Critical
	Unknown
)

var severities = [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}

func (s Severity) String() string { return severities[s] }

func (s Severity) Error() string { return s.String() }

// Err is the error that ends the program with this status.
func (s Severity) Err() error {
	if s == OK {
		return nil
	}
	return s
}

const severityHelp = "Exit status: 0 OK; 1 warning; 2 critical; 3 unknown, for wrong usage and all failures;\n" +
	"128+n died of signal n."

// unknownError is an error of which standard output has been told.
type unknownError struct {
	error
	severity Severity
}

func (e unknownError) Unwrap() error { return e.error }

// serve notes which command runs.
func (p *Process) serve(c Command) {
	if c.Unknown != nil {
		p.monitor.Store(&c)
	}
}

// sayUnknown has a command that a monitoring system runs say that it cannot
// tell.
func (p *Process) sayUnknown(err error) error {
	command := p.monitor.Load()
	if _, told := err.(Severity); err == nil || told || command == nil {
		return err
	}
	text, severity := command.Unknown(err)
	_, _ = fmt.Fprint(p.Out, text) // if even that fails, the status says so
	return unknownError{err, severity}
}

// failure is the status of an error that would otherwise have another one.
func (p *Process) failure(status int) int {
	if p.monitor.Load() != nil {
		return int(Unknown)
	}
	return status
}

package cli

import (
	"time"

	"pgpipes/lib/state"
	"pgpipes/lib/wait"
)

// State is the option that names the state directory.
type State struct {
	Dir string `long:"state" env:"PGPIPES_STATE" value-name:"DIR" description:"remember in DIR what was done ahead, and what was dropped; none for not at all; by default /var/tmp/pgpipes-UID"`
}

// noState turns the state directory off.
const noState = "none"

// statePatience is how long the state directory may take to answer.
const statePatience = 2 * time.Second

// Open returns the state directory. It is nil if there shall be none, and with
// a warning if there can be none: then everything is only slower.
func (s State) Open(p *Process) *state.Dir {
	if s.Dir == noState {
		return nil
	}
	path := s.Dir
	if path == "" {
		path = state.Default()
	}
	var dir *state.Dir
	var err error
	if !wait.Within(statePatience, func() { dir, err = state.Open(path) }) {
		p.Warnf("nothing is done ahead: %s does not answer within %s", path, statePatience)
		return nil
	}
	if err != nil {
		p.Warnf("nothing is done ahead: %v", err)
	}
	return dir
}

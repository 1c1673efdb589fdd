package cli

import "pgpipes/lib/state"

// State is the option that names the state directory.
type State struct {
	Dir string `long:"state" env:"PGPIPES_STATE" value-name:"DIR" description:"remember in DIR what was done ahead, and what was dropped; none for not at all; by default /var/tmp/pgpipes-UID"`
}

// noState turns the state directory off.
const noState = "none"

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
	dir, err := state.Open(path)
	if err != nil {
		p.Warnf("nothing is done ahead: %v", err)
	}
	return dir
}

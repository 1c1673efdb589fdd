package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
)

// A trial is what the newest records say of verifications or drills.
type trial struct {
	kind    string
	newest  *archive.Record // nil if there is none
	failure *archive.Record // one that nothing newer has proved wrong
}

const (
	keyResult = "result"
	passed    = "ok"
	scope     = "scope"
	full      = "full"
)

// verifications looks at those that have read everything. One that has not says
// something only when it is the last and has found something.
func verifications(all []archive.Record) trial {
	t := trial{kind: archive.KindVerify}
	for i, record := range slices.Backward(all) {
		bad, entire := record.Values[keyResult] != passed, record.Values[scope] == full
		if bad && t.failure == nil && (entire || i == len(all)-1) {
			t.failure = &record
		}
		if entire {
			t.newest = &record
			break
		}
	}
	return t
}

// drills looks at the last one.
func drills(all []archive.Record) trial {
	t := trial{kind: archive.KindDrill}
	if len(all) > 0 {
		t.newest = &all[len(all)-1]
		if t.newest.Values[keyResult] != passed {
			t.failure = t.newest
		}
	}
	return t
}

// words say of each kind that it went well, never was, and failed.
var words = map[string][3]string{
	archive.KindVerify: {"verified %s ago", "never verified in full", "verification found damage"},
	archive.KindDrill:  {"drill %s ago", "no drill yet", "drill failed"},
}

// finding judges the age of the newest, and the failure.
func (t trial) finding(now time.Time, l limits) finding {
	said := words[t.kind]
	f := finding{severity: l.worst()}
	if t.newest != nil {
		age := since(now, t.newest.Began)
		f = aged(l, age, fmt.Sprintf(said[0], cli.Duration(age)), l.data(t.kind+"_age", age))
	} else if f.severity > cli.OK {
		f.text = said[1]
		f = f.detailed(said[1])
	}
	if t.failure != nil {
		f.severity, f.text = cli.Critical, said[2]
		f = f.detailed(fmt.Sprintf("%s %s ago: %s", said[2], cli.Duration(since(now, t.failure.Began)), t.reason()))
	}
	return f
}

// reason is what the record says about its failure.
func (t trial) reason() string {
	v := t.failure.Values
	if t.kind == archive.KindVerify {
		return fmt.Sprintf("%s findings (%s); manifest verify names them", v["findings"], v[scope])
	}
	return strings.TrimPrefix(fmt.Sprintf("%s: %s: %s", v["backup"], v["step"], v["reason"]), ": ")
}

// since is an age, at least 0: clocks differ.
func since(now, then time.Time) time.Duration { return max(now.Sub(then), 0) }

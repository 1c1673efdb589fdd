package main

import (
	"context"
	"fmt"
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

// verifications looks back to the last that has read everything. One that has not
// says something only when it is the last and has found something.
func verifications(ctx context.Context, r *archive.Repo) (trial, error) {
	t := trial{kind: archive.KindVerify}
	last := true
	for record, err := range r.Records(ctx, t.kind) {
		if err != nil {
			return t, err
		}
		bad, entire := record.Values[keyResult] != passed, record.Values[scope] == full
		if bad && (entire || last) && t.failure == nil {
			t.failure = &record
		}
		if last = false; entire {
			t.newest = &record
			break
		}
	}
	return t, nil
}

// drills looks at the last one.
func drills(ctx context.Context, r *archive.Repo) (trial, error) {
	t := trial{kind: archive.KindDrill}
	for record, err := range r.Records(ctx, t.kind) {
		if err != nil {
			return t, err
		}
		if t.newest = &record; record.Values[keyResult] != passed {
			t.failure = &record
		}
		break
	}
	return t, nil
}

// words say of each kind that it went well, never was, and failed.
var words = map[string][3]string{
	archive.KindVerify: {"verified", "never verified in full", "verification found damage"},
	archive.KindDrill:  {"drill", "no drill yet", "drill failed"},
}

// finding judges the age of the newest, and the failure.
func (t trial) finding(now time.Time, l limits) finding {
	said := words[t.kind]
	f := finding{severity: l.worst()}
	if t.newest != nil {
		age := since(now, t.newest.Began)
		f = aged(l, age, said[0]+" "+spell(age, "ago"), l.data(t.kind+"_age", age))
	} else if f.severity > cli.OK {
		f.text = said[1]
		f = f.detailed(said[1])
	}
	if t.failure != nil {
		f.severity, f.text = cli.Critical, said[2]
		f = f.detailed(fmt.Sprintf("%s %s: %s", said[2], spell(since(now, t.failure.Began), "ago"), t.reason()))
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

// skew is how far clocks may differ without being wrong.
const skew = 5 * time.Minute

// since is an age. Of what has come by a clock that is ahead it is 0, and below
// that if the clock is wrong.
func since(now, then time.Time) time.Duration {
	age := now.Sub(then)
	if -skew <= age && age < 0 {
		return 0
	}
	return age
}

// spell says an age in words, of which one is for what has passed.
func spell(age time.Duration, past string) string {
	if age < 0 {
		return cli.Duration(-age).String() + " in the future"
	}
	return cli.Duration(age).String() + " " + past
}

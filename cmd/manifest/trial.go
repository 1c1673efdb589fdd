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

// verifications looks at those that have read everything. One that has not says
// something only when it is newer and has found something.
func verifications(ctx context.Context, r *archive.Repo) (trial, error) {
	t := trial{kind: archive.KindVerify}
	first := true
	for record, err := range r.NewestRecords(ctx, t.kind) {
		if err != nil {
			return t, err
		}
		if first && record.Values[keyResult] != passed {
			t.failure = &record
		}
		first = false
		if record.Values[scope] != full {
			continue
		}
		t.newest = &record
		if t.failure == nil && record.Values[keyResult] != passed {
			t.failure = &record
		}
		break
	}
	return t, nil
}

// drills looks at the last one.
func drills(ctx context.Context, r *archive.Repo) (trial, error) {
	t := trial{kind: archive.KindDrill}
	for record, err := range r.NewestRecords(ctx, t.kind) {
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
	archive.KindVerify: {"verified %s ago", "never verified in full", "verification found damage"},
	archive.KindDrill:  {"drill %s ago", "no drill yet", "drill failed"},
}

// finding judges the age of the newest, and the failure.
func (t trial) finding(now time.Time, l limits) finding {
	said := words[t.kind]
	f := finding{}
	if t.newest == nil {
		if f.severity = l.worst(); f.severity > cli.OK {
			f.text, f.details = said[1], []string{said[1]}
		}
	} else {
		age := since(now, t.newest.Began)
		f.severity, f.text = l.judge(age), fmt.Sprintf(said[0], cli.Duration(age))
		f.data = []string{l.data(t.kind+"_age", age)}
		if f.severity > cli.OK {
			f.details = []string{f.text}
		}
	}
	if t.failure != nil {
		f.severity, f.text = cli.Critical, said[2]
		f.details = append(f.details, fmt.Sprintf("%s %s ago: %s", said[2], cli.Duration(since(now, t.failure.Began)), t.reason()))
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

package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"runtime"
	"strconv"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
	"pgpipes/lib/inspect"
	"pgpipes/lib/manifest"
	"pgpipes/lib/store"
	"pgpipes/lib/stream"
	"pgpipes/lib/verify"
	"pgpipes/lib/wait"
)

// verifyRepository verifies everything, or some backups. What is wrong is a
// finding; not reaching the repository is a failure.
func verifyRepository(ctx context.Context, p *cli.Process, labels []string) error {
	if err := checkVerify(); err != nil {
		return err
	}
	location, err := options.One()
	if err != nil {
		return err
	}
	r, err := cli.OpenRepository(ctx, location)
	if err != nil {
		return whyClosed(ctx, p, location, err)
	}
	var journal *verify.Journal
	if verifyOptions.Journal != "" {
		if journal, err = openJournal(r); err != nil {
			return err
		}
	}
	meter, err := p.Meter(verifyOptions.Progress)
	if err != nil {
		return err
	}
	v := verification(ctx, p, r, labels, journal, wait.NewPace(int64(verifyOptions.MaxRate), meter.Progress()))
	result, err := verify.Run(ctx, r, v)
	meter.Stop()
	if journal != nil {
		err = errors.Join(err, journal.Finish(err == nil && result.Failures == 0))
	}
	if err != nil {
		return cli.Failure(err)
	}
	if len(labels) == 0 {
		record(ctx, p, r, result)
	}
	p.Verbosef("%d bytes of WAL and parts were read, %d were known", result.Bytes, result.Skipped)
	return conclude(result, r, labels)
}

func checkVerify() error {
	switch {
	case len(options.Locations) == 0:
		return cli.Usagef("verify what? -r DIR for a repository; -m FILE with -D DIR or a tar on standard input")
	case verifyOptions.Data != "":
		return cli.Usagef("-D is for a directory and needs -m; a repository is verified as a whole")
	case verifyOptions.Quick && verifyOptions.Journal != "":
		return cli.Usagef("--quick reads nothing that --journal could note")
	}
	return nil
}

// whyClosed turns an error of opening a repository into a finding if the fault is
// in the repository.
func whyClosed(ctx context.Context, p *cli.Process, location string, err error) error {
	f, found := verify.WhyClosed(ctx, location, err)
	if !found {
		return err
	}
	if _, err := fmt.Fprintln(p.Text, f); err != nil {
		return err
	}
	return errDiffers
}

func openJournal(r *archive.Repo) (*verify.Journal, error) {
	j, err := verify.OpenJournal(r, verifyOptions.Journal)
	if errors.Is(err, verify.ErrJournal) {
		err = cli.Hint(cli.Mistake(err), "give a file of its own outside the repository, or remove this one to begin anew")
	}
	return j, err
}

func verification(ctx context.Context, p *cli.Process, r *archive.Repo, labels []string, j *verify.Journal, pace *wait.Pace) verify.Verification {
	v := verify.Verification{
		Quick: verifyOptions.Quick, Labels: labels, Jobs: verifyOptions.Jobs.Or(runtime.GOMAXPROCS(0)), Pace: pace, Journal: j,
		Tars: readTars,
		Found: func(f verify.Finding) error {
			_, err := fmt.Fprintln(p.Text, f)
			return err
		},
		Failed: func(err error) { p.Warnf("%v", err) },
		Remark: p.Verbosef,
	}
	if verifyOptions.Source != "" {
		v.Source = sourceOf(ctx, p, r)
	}
	return v
}

// readTars has lib/inspect read parts, whose faults are damage for the repository.
func readTars(ctx context.Context, t verify.Tars) iter.Seq2[manifest.Difference, error] {
	told := t.Read
	t.Read = func(part manifest.Part, err error) {
		if errors.Is(err, stream.ErrBad) {
			err = fmt.Errorf("%w: %w", archive.ErrDamaged, err)
		}
		told(part, err)
	}
	return inspect.VerifyParts(ctx, inspect.Reading(t))
}

// record stores what came of it, for monitoring. That a repository cannot be
// written to makes it no worse.
func record(ctx context.Context, p *cli.Process, r *archive.Repo, v verify.Verified) {
	if verifyOptions.NoRecord || v.Failures > 0 {
		return
	}
	scope, result := "full", "ok"
	if verifyOptions.Quick {
		scope = "quick"
	}
	if v.Findings > 0 {
		result = "damaged"
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	err = r.PutRecord(ctx, archive.KindVerify, v.Began,
		"scope", scope, "ended", v.Ended.UTC().Format(time.RFC3339), "objects", strconv.FormatInt(v.Objects, 10),
		"bytes", strconv.FormatInt(v.Bytes, 10), "findings", strconv.Itoa(v.Findings), "result", result, "host", host)
	if err != nil {
		p.Warnf("%v: no record of this verification is kept (--no-record keeps none)", err)
	}
}

// conclude makes the status: what is wrong counts for more than what could not be
// looked at.
func conclude(v verify.Verified, r *archive.Repo, labels []string) error {
	switch {
	case v.Findings == 0 && v.Failures > 0:
		return cli.Failure(fmt.Errorf("%s: %d objects could not be looked at", r.Location, v.Failures))
	case len(labels) == 0 && v.Backups == 0:
		return fmt.Errorf("%s: no complete backup: %w", r.Location, store.ErrNotExist)
	case v.Findings > 0:
		return errDiffers
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"pgpipes/lib/archive"
	"pgpipes/lib/base"
	"pgpipes/lib/cli"
	"pgpipes/lib/manifest"
	"pgpipes/lib/store"
)

var verifyOptions struct {
	Manifest string `short:"m" long:"manifest" value-name:"FILE" description:"the manifest to verify against"`
	Data     string `short:"D" long:"pgdata" value-name:"DIR" description:"verify this directory, as base-restore left it"`
	Source   string `long:"source" value-name:"COMMAND" description:"in a repository: a shell command that prints a part if that cannot be read as it is stored; gets LABEL, PART and KEY in its environment"`
	Quick    bool   `long:"quick" description:"in a repository: sizes and presence only, nothing is read"`
}

// errDiffers ends a verification whose findings have been printed.
var errDiffers = cli.No(errors.New("does not verify"))

var verifyCommand = cli.Command{
	Name:    "verify",
	Summary: "Verify a directory, a tar on standard input, or backups in a repository with their WAL.",
	Description: `With -D DIR or standard input: against the manifest that -m names. With -r: the
backups named, or all, each with the parts of others that it uses and the WAL
from its start to its stop, unless it holds that itself; with all also that
wal-push --queue-max has dropped nothing that is still missing.
Prints a line for each difference; status 1 if there is one.`,
	Options: &verifyOptions, Action: cli.Action{Operands: "[LABEL]…", Max: cli.Many, Run: runVerify},
}

func runVerify(ctx context.Context, p *cli.Process, operands []string) error {
	if verifyOptions.Manifest == "" {
		return verifyRepository(ctx, p, operands)
	}
	if len(operands) > 0 {
		return cli.Usagef("unexpected operand: %s", operands[0])
	}
	want, err := cli.OpenFile(ctx, verifyOptions.Manifest)
	if err != nil {
		return err
	}
	defer want.Close()
	if verifyOptions.Data != "" {
		return printAll(p, base.VerifyDir(ctx, verifyOptions.Data, want))
	}
	if err := p.RefuseTerminalInput(); err != nil {
		return err
	}
	p.WidenPipes()
	return printAll(p, base.VerifyStream(ctx, p.In, want))
}

func printAll(p *cli.Process, differences iter.Seq2[manifest.Difference, error]) error {
	found := false
	for d, err := range differences {
		if err != nil {
			return err
		}
		found = true
		if _, err := fmt.Fprintln(p.Text, d); err != nil {
			return err
		}
	}
	if found {
		return errDiffers
	}
	return nil
}

// verifyRepository verifies each backup, and goes on after a bad one. What is
// wrong with a backup is a finding; not reaching the repository is a failure.
func verifyRepository(ctx context.Context, p *cli.Process, operands []string) error {
	if len(options.Locations) == 0 {
		return cli.Usagef("verify what? -r DIR for a repository; -m FILE with -D DIR or a tar on standard input")
	}
	r, err := open(ctx)
	if err != nil {
		return err
	}
	coverage, err := r.Coverage(ctx)
	if err != nil {
		return err
	}
	var result error
	if len(operands) == 0 {
		if result, err = verifyNoGaps(ctx, p, r, coverage); err != nil {
			return err
		}
		if operands, err = labels(ctx, r); err != nil {
			return err
		}
	}
	if err := remarkOrphans(ctx, p, r); err != nil {
		return err
	}
	for _, label := range operands {
		err := verifyBackup(ctx, p, r, coverage, label)
		if err == nil {
			p.Verbosef("%s: verified", label)
			continue
		}
		if !errors.Is(err, errDiffers) {
			if _, err := fmt.Fprintf(p.Text, "%s: %v\n", label, err); err != nil {
				return err
			}
		}
		result = errDiffers
		if !isFinding(err) {
			return err
		}
	}
	return result
}

// remarkOrphans says what is no fault and will be swept.
func remarkOrphans(ctx context.Context, p *cli.Process, r *archive.Repo) error {
	all, err := r.Backups(ctx)
	if err != nil {
		return err
	}
	for _, b := range all {
		for _, key := range b.Orphans() {
			p.Verbosef("%s: no manifest names it; expire will remove it", key)
		}
	}
	return nil
}

// verifyNoGaps prints what was dropped and is still missing. That is a finding
// about the repository, not about any backup in it.
func verifyNoGaps(ctx context.Context, p *cli.Process, r *archive.Repo, c archive.Coverage) (finding, err error) {
	open, err := r.OpenGaps(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, g := range open {
		finding = errDiffers
		if _, err := fmt.Fprintf(p.Text, "gap %s: %s (%s)\n", g, g.Story(), g.Reason); err != nil {
			return nil, err
		}
	}
	return finding, nil
}

// isFinding reports whether an error says something about a backup, not about
// the way to it.
func isFinding(err error) bool {
	for _, finding := range []error{
		errDiffers, archive.ErrDamaged, archive.ErrHole, store.ErrNotExist, manifest.ErrDamaged, base.ErrStream, base.ErrDiffers,
	} {
		if errors.Is(err, finding) {
			return true
		}
	}
	return false
}

func verifyBackup(ctx context.Context, p *cli.Process, r *archive.Repo, c archive.Coverage, label string) error {
	h, err := r.Header(ctx, label)
	if err != nil {
		return err
	}
	if err := r.VerifyParts(ctx, h); err != nil {
		return err
	}
	if missing := c.MissingFor(h); missing != "" {
		return fmt.Errorf("%s is missing: %w%s", missing, archive.ErrHole, c.Why(missing))
	}
	if verifyOptions.Quick {
		return r.VerifyManifest(ctx, label)
	}
	if err := r.VerifyWAL(ctx, c, h); err != nil {
		return err
	}
	return verifyParts(ctx, p, r, h)
}

// verifyParts reads what is stored and compares it with the manifest.
func verifyParts(ctx context.Context, p *cli.Process, r *archive.Repo, h manifest.Header) error {
	list := func() (io.ReadCloser, error) { return r.Manifest(ctx, h.Label) }
	open := opener(ctx, p, r, h.Label)
	if len(h.Parts) > 1 {
		return printAll(p, base.VerifyParts(ctx, list, open))
	}
	want, err := list()
	if err != nil {
		return err
	}
	defer want.Close()
	part, err := open(h.Parts[0])
	if err != nil {
		return err
	}
	defer part.Close()
	return printAll(p, base.VerifyStream(ctx, part, want))
}

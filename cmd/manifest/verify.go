package main

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"pgpipes/lib/cli"
	"pgpipes/lib/inspect"
	"pgpipes/lib/manifest"
)

var verifyOptions struct {
	cli.Progress
	Manifest string   `short:"m" long:"manifest" value-name:"FILE" description:"the manifest to verify against"`
	Data     string   `short:"D" long:"pgdata" value-name:"DIR" description:"verify this directory, as base-restore left it"`
	Source   string   `long:"source" value-name:"COMMAND" description:"in a repository: a shell command that prints a part if that cannot be read as it is stored; gets LABEL, PART and KEY in its environment"`
	Quick    bool     `long:"quick" description:"in a repository: names, sizes and what small objects say; neither WAL nor parts are read"`
	Jobs     cli.Jobs `short:"j" long:"jobs" env:"PGPIPES_JOBS" value-name:"N" description:"in a repository: how much to read at once; as much as there are cores by default"`
	MaxRate  cli.Size `long:"max-rate" env:"PGPIPES_MAX_RATE" value-name:"SIZE" description:"in a repository: read no more than this in a second"`
	Journal  string   `long:"journal" value-name:"FILE" description:"in a repository: note in FILE what was found whole, so that the next verification with it goes on where this one was interrupted; removed at the end"`
	NoRecord bool     `long:"no-record" description:"do not store in the repository what came of verifying it"`
}

// errDiffers ends a verification whose findings have been printed.
var errDiffers = cli.No(errors.New("does not verify"))

var verifyCommand = cli.Command{
	Name:    "verify",
	Summary: "Verify a directory, a tar on standard input, or a repository: its backups and its WAL.",
	Description: `With -D DIR or standard input: against the manifest that -m names. With -r:
everything in the repository, or the backups named, each with the parts of others
that it uses and the WAL from its start to its stop, unless it holds that itself.
Every byte is read once: codecs, hashes, names, the records of the log from one
segment to the next, files against manifests; and nothing may be missing.

Prints a line for each difference or finding; status 1 if there is one. A finding
has three columns: a kind (damaged, missing, hole, dropped, differs), a name, and
what is wrong. What came of verifying everything is recorded in the repository, for
manifest status and manifest report; of backups that are named it is not.`,
	Options: &verifyOptions, Action: cli.Action{Operands: "[LABEL]…", Max: cli.Many, Run: runVerify},
}

func runVerify(ctx context.Context, p *cli.Process, operands []string) error {
	if verifyOptions.Manifest == "" {
		return verifyRepository(ctx, p, operands)
	}
	if len(operands) > 0 {
		return cli.Usagef("unexpected operand: %s", operands[0])
	}
	if verifyOptions.Journal != "" {
		return cli.Usagef("--journal is for a repository")
	}
	want, err := cli.OpenFile(ctx, verifyOptions.Manifest)
	if err != nil {
		return err
	}
	defer want.Close()
	if verifyOptions.Data != "" {
		return printAll(p, inspect.VerifyDir(ctx, verifyOptions.Data, want))
	}
	if err := p.RefuseTerminalInput(); err != nil {
		return err
	}
	p.WidenPipes()
	return printAll(p, inspect.VerifyStream(ctx, p.In, want))
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

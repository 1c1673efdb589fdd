package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"pgpipes/lib/cli"
	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/store"
)

var diffOptions struct {
	JSON      bool `long:"json" description:"print one JSON object a line"`
	Relations bool `long:"relations" description:"print a line for all files of a relation together"`
	Summary   bool `long:"summary" description:"print totals only"`
}

// errDiffer ends a comparison whose findings have been printed.
var errDiffer = cli.No(errors.New("they differ"))

var diffCommand = cli.Command{
	Name:    "diff",
	Summary: "Print what has changed from one backup to another; status 0 says that nothing has.",
	Description: `A and B are labels of backups in the repository that -r names, or files; one of
them may be -. Columns: state (added, removed, changed, or touched if only mode,
owner, time or target are other ones), bytes in A, bytes in B, fork (main, fsm,
vm, init, or other for what is no file of a relation), OID of the database (0: of
all), filenode, number of the segment, path.

With --relations: state, bytes in A, bytes in B, bytes in B of the files that were
added or changed, OID of the database, filenode, number of files, path of the first
file; what is no relation's comes with a line of its own. With --summary: state,
files, directories and links, bytes in A, bytes in B.

What is unknown or does not apply is "-". Status 1: they differ. Other statuses
but 0 mean that a manifest was not read to its end, and that what was printed
proves nothing.`,
	Options: &diffOptions, Action: cli.Action{Operands: "A B", Min: 2, Max: 2, Run: runDiff},
}

// A differ is told of every path, and prints what it makes of it.
type differ interface {
	add(c *manifest.Change) error
	finish() error
	close() error
}

func runDiff(ctx context.Context, p *cli.Process, operands []string) error {
	if operands[0] == "-" && operands[1] == "-" {
		return cli.Usagef("only one of them can be standard input")
	}
	if diffOptions.Relations && diffOptions.Summary {
		return cli.Usagef("--relations or --summary, not both")
	}
	var sides [2]manifest.EntrySource
	for i, name := range operands {
		in, err := openManifest(ctx, p, []string{name})
		if errors.Is(err, store.ErrNotExist) {
			return cli.Failure(err) // not the answer that they differ
		}
		if err != nil {
			return err
		}
		defer in.Close()
		m, err := manifest.NewReader(in)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		sides[i] = namedSource{name, m}
	}
	return printChanges(newDiffer(p), sides[0], sides[1])
}

// namedSource says which of several manifests an error is about.
type namedSource struct {
	name string
	manifest.EntrySource
}

func (s namedSource) Next() (manifest.Entry, error) {
	e, err := s.EntrySource.Next()
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%s: %w", s.name, err)
	}
	return e, err
}

func newDiffer(p *cli.Process) differ {
	switch {
	case diffOptions.Relations:
		return newRelationDiffer(p.Text)
	case diffOptions.Summary:
		return &totalDiffer{out: table{p.Text, totalColumns, diffOptions.JSON}}
	}
	return &pathDiffer{table{p.Text, pathColumns, diffOptions.JSON}}
}

func printChanges(d differ, before, after manifest.EntrySource) error {
	defer d.close()
	var result error
	for c, err := range manifest.Changes(before, after) {
		if err != nil {
			return err
		}
		if c.State != manifest.Unchanged {
			result = errDiffer
		}
		if err := d.add(&c); err != nil {
			return err
		}
	}
	if err := d.finish(); err != nil {
		return err
	}
	return result
}

// pathDiffer prints every path that is not unchanged.
type pathDiffer struct{ out table }

var pathColumns = []column{
	{"state", false}, {"before", true}, {"after", true}, {"fork", false}, {"database", true}, {"filenode", true},
	{"segment", true}, {"path", false},
}

func (d *pathDiffer) add(c *manifest.Change) error {
	if c.State == manifest.Unchanged {
		return nil
	}
	fork, database, filenode, segment := "other", none, none, none
	if of, r, ok := pgdata.ParseRelationPath(c.Path()); ok {
		fork, database, filenode, segment = cmp.Or(r.Fork, "main"), decimal(of), decimal(r.Number), decimal(r.Segment)
	}
	return d.out.print(string(c.State), size(&c.Before), size(&c.After), fork, database, filenode, segment, manifest.Escape(c.Path()))
}

func (d *pathDiffer) finish() error { return nil }
func (d *pathDiffer) close() error  { return nil }

// size is a column for the bytes of a file.
func size(e *manifest.Entry) string {
	if e.Kind != manifest.File {
		return none
	}
	return decimal(e.Size)
}

func decimal[T int | int64 | uint32](n T) string { return strconv.FormatInt(int64(n), 10) }

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
	"pgpipes/lib/store"
)

var acceptHoleOptions struct {
	Reason string `long:"reason" value-name:"TEXT" description:"what has happened, for who will wonder"`
}

var acceptHoleCommand = cli.Command{
	Name:    "accept-hole",
	Summary: "Record that the segments FIRST to LAST are missing and that somebody knows it.",
	Description: `What is accepted is no finding any more for verify and status. Recovery cannot go
past it all the same, and wal-get says so. Every segment of it must be missing.

  manifest accept-hole -r /backup/pg/main --reason 'disk full on the 3rd' \
      00000001000000000000000A-00000001000000000000000F`,
	Options: &acceptHoleOptions, Action: cli.Action{Operands: "FIRST[-LAST]", Min: 1, Max: 1, Run: runAcceptHole},
}

func runAcceptHole(ctx context.Context, _ *cli.Process, operands []string) error {
	if strings.TrimSpace(acceptHoleOptions.Reason) == "" {
		return cli.Usagef("what has happened? --reason TEXT")
	}
	r, err := open(ctx)
	if err != nil {
		return err
	}
	span, err := r.ParseSpan(strings.Replace(operands[0], "..", "-", 1))
	if err != nil {
		return cli.Mistake(err)
	}
	there, err := r.FirstPresent(ctx, span)
	if err != nil {
		return err
	}
	if there != "" {
		return cli.No(fmt.Errorf("%s: it is no hole: %s is there: %w", operands[0], there, store.ErrDiffers))
	}
	return r.Accept(ctx, archive.Accepted{Span: span, Time: time.Now(), By: archive.ByOperator, Reason: acceptHoleOptions.Reason})
}

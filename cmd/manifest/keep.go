package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pgpipes/lib/cli"
	"pgpipes/lib/store"
)

var keepOptions struct {
	Reason string `long:"reason" value-name:"TEXT" description:"why, for who will wonder"`
}

var keepCommand = cli.Command{
	Name:    "keep",
	Summary: "Pin the backup LABEL: expire keeps it until manifest unkeep.",
	Options: &keepOptions, Action: cli.Action{Operands: "LABEL", Min: 1, Max: 1, Run: runKeep},
}

func runKeep(ctx context.Context, _ *cli.Process, operands []string) error {
	r, err := open(ctx)
	if err != nil {
		return err
	}
	reason := keepOptions.Reason
	if reason == "" {
		reason = "without a reason"
	}
	err = r.Pin(ctx, operands[0], reason)
	if errors.Is(err, store.ErrDiffers) {
		err = cli.Hint(err, "manifest unkeep %s before", operands[0])
	}
	return err
}

var unkeepCommand = cli.Command{
	Name:    "unkeep",
	Summary: "Take back that the backup LABEL is pinned.",
	Action: cli.Action{Operands: "LABEL", Min: 1, Max: 1, Run: func(ctx context.Context, _ *cli.Process, operands []string) error {
		r, err := open(ctx)
		if err != nil {
			return err
		}
		return r.Unpin(ctx, operands[0])
	}},
}

var usingOptions struct {
	For cli.Duration `long:"for" value-name:"TIME" default:"2d" description:"for how long expire keeps what is needed"`
}

var usingCommand = cli.Command{
	Name:    "using",
	Summary: "Record that the backup LABEL is being restored, and print the key of the record.",
	Description: `For that time expire keeps the backup and all WAL after it. pgpipes-restore does
this by itself; repo rm of the key ends it before.`,
	Options: &usingOptions, Action: cli.Action{Operands: "LABEL", Min: 1, Max: 1, Run: runUsing},
}

func runUsing(ctx context.Context, p *cli.Process, operands []string) error {
	if usingOptions.For <= 0 {
		return cli.Usagef("--for: a length of time above 0")
	}
	r, err := open(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	key, err := r.BeginRestore(ctx, operands[0], now, now.Add(time.Duration(usingOptions.For)))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.Text, key)
	return err
}

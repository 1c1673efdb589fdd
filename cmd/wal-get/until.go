package main

import (
	"fmt"

	"pgpipes/lib/cli"
	"pgpipes/lib/wal"
)

// refuseLater says that a segment is absent which comes after the end that was
// asked for. A server that is to stop there looks further ahead
// (xlogprefetcher.c), where WAL may have been left out on purpose.
func refuseLater(name wal.Name) error {
	if options.Until == "" {
		return nil
	}
	last, err := wal.ParseName(options.Until)
	if err != nil || last.Kind != wal.Segment {
		return cli.Usagef("--until %s: not the name of a segment", options.Until)
	}
	if name.Kind == wal.Segment && (name.Log > last.Log || name.Log == last.Log && name.Low > last.Low) {
		return cli.No(fmt.Errorf("%s: after %s, where recovery is to end", name, last))
	}
	return nil
}

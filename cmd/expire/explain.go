package main

import (
	"errors"
	"fmt"
	"strings"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
	"pgpipes/lib/expire"
)

// hinted says how to go on without a backup that is damaged, or how to know of one
// that cannot be read whether it is.
func hinted(err error) error {
	var broken *expire.NotWhole
	if !errors.As(err, &broken) {
		return err
	}
	if !errors.Is(err, archive.ErrDamaged) && !errors.Is(err, archive.ErrHole) {
		return cli.Hint(err, "expire goes on when it can be read; manifest verify --quick says more")
	}
	gone := "/manifest"
	if !broken.Complete {
		gone = "/start"
	}
	hint := fmt.Sprintf("manifest verify says more; repo rm base/%s%s gives the backup up", broken.Label, gone)
	if users := broken.NeededBy; len(users) > 0 {
		hint += fmt.Sprintf(": its parts stay as long as there is %s, which needs them", strings.Join(users, ", "))
	}
	return cli.Hint(err, "%s", hint)
}

// explain prints what each rule says of a backup, who needs it, what WAL is kept
// for it, and what that comes to.
func explain(p *cli.Process, e *expire.Expiry, label string) error {
	x, err := e.Explain(label)
	if errors.Is(err, archive.ErrNoBackup) {
		return cli.No(err)
	}
	if err != nil {
		return err
	}
	for _, v := range x.Rules {
		says := "no"
		if v.Keep {
			says = "keep"
		}
		fmt.Fprintf(p.Text, "rule\t%s\t%s\n", says, v.Why)
	}
	for _, other := range x.NeededBy {
		fmt.Fprintf(p.Text, "needed-by\t%s\n", other)
	}
	for _, d := range x.WAL {
		fmt.Fprintf(p.Text, "wal\t%s\n", d.Name)
	}
	_, err = fmt.Fprintln(p.Text, x.Decision)
	return err
}

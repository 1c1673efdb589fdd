package main

import (
	"errors"

	"pgpipes/lib/backup"
	"pgpipes/lib/cli"
	"pgpipes/lib/server"
)

// explain says what a failed copy means for the status, and what can be done.
func explain(err error) error {
	switch {
	case errors.Is(err, backup.ErrArchiving):
		return cli.Hint(err, "--no-archive-check copies without looking; the backup needs its WAL all the same")
	case errors.Is(err, backup.ErrOtherWAL):
		return cli.Hint(cli.No(err), "a copy of this server archives there, too, or this one was put back, as by a snapshot: it needs a repository of its own")
	case errors.Is(err, backup.ErrLinked):
		return cli.Hint(err, "--follow-links copies what links lead to, also those to directories of logs and settings")
	case errors.Is(err, backup.ErrBadPages):
		return cli.Hint(cli.No(err), "--bad-pages warn completes the backup all the same")
	case errors.Is(err, backup.ErrWrongServer):
		return cli.Hint(cli.Mistake(err), "-D and PGHOST, PGPORT … must name the same server")
	case errors.Is(err, backup.ErrLabel), errors.Is(err, backup.ErrParent), errors.Is(err, server.ErrConninfo):
		return cli.Mistake(err)
	}
	return err
}

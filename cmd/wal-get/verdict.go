package main

import (
	"errors"
	"fmt"
	"os"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

// temporary reports whether a failure may pass.
func temporary(err error) bool {
	for _, final := range []error{store.ErrNotExist, store.ErrLocation, archive.ErrForeign, archive.ErrFormat, wal.ErrName} {
		if errors.Is(err, final) {
			return false
		}
	}
	return true
}

// judge says what an error of the work means.
func judge(err error) error {
	switch {
	case options.Detached: // there is no bad end
		return nil
	case options.Prefetch: // no server asks
		return cli.Failure(cli.RepositoryHint(err))
	}
	return verdict(cli.RepositoryHint(err))
}

// verdict decides between "absent" and "stop".
func verdict(err error) error {
	switch {
	case errors.Is(err, store.ErrNotExist):
		return cli.No(err)
	case options.OnError == "absent":
		return cli.No(err)
	case options.OnError == "auto" && outage(err) && isStandby():
		return cli.No(fmt.Errorf("%w (a standby asks again)", err))
	}
	return cli.Failure(err)
}

// outage reports whether it was the way to the repository that failed, not
// what is in it.
func outage(err error) bool {
	for _, other := range []error{archive.ErrHole, archive.ErrDamaged, archive.ErrForeign, archive.ErrFormat, store.ErrLocation, pgdata.ErrControl, wal.ErrName} {
		if errors.Is(err, other) {
			return false
		}
	}
	return true
}

func isStandby() bool {
	_, err := os.Stat("standby.signal")
	return err == nil
}

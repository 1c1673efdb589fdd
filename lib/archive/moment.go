package archive

import (
	"context"
	"errors"
	"time"

	"pgpipes/lib/retain"
	"pgpipes/lib/wal"
)

func (r *Repo) LastCommit(ctx context.Context, tli wal.Timeline, first, last uint64) (time.Time, bool, error) {
	return time.Time{}, false, errNotRead
}

func (r *Repo) FirstCommitAfter(ctx context.Context, at time.Time, path []retain.WALRange) (wal.Timeline, uint64, bool, error) {
	return 0, 0, false, errNotRead
}

var errNotRead = errors.New("not read")

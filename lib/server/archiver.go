package server

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// ArchiverStats is pg_stat_archiver. The server counts a failure only when the
// archive_command ended in 1 to 125; one killed by a signal leaves no trace here.
type ArchiverStats struct {
	Archived, Failed                 int64
	LastArchived, LastFailed         string // names of WAL files, "" for none yet
	LastArchivedTime, LastFailedTime time.Time
}

const archiverQuery = `
SELECT archived_count, last_archived_wal,
       pg_catalog.floor(extract(epoch FROM last_archived_time) * 1000000)::pg_catalog.int8,
       failed_count, last_failed_wal,
       pg_catalog.floor(extract(epoch FROM last_failed_time) * 1000000)::pg_catalog.int8
  FROM pg_catalog.pg_stat_archiver`

// ArchiverStats says how the server's archiving goes. The figures may be half
// a second old (before 15 they come through the statistics collector).
func (s *Session) ArchiverStats(ctx context.Context) (ArchiverStats, error) {
	row, err := s.ask(ctx, "pg_stat_archiver", archiverQuery)
	if err != nil {
		return ArchiverStats{}, err
	}
	n := make([]int64, len(row))
	for _, i := range []int{0, 2, 3, 5} {
		if row[i] == nil {
			continue // no time yet
		}
		if n[i], err = strconv.ParseInt(string(row[i]), 10, 64); err != nil {
			return ArchiverStats{}, fmt.Errorf("pg_stat_archiver: %q is not a number", row[i])
		}
	}
	return ArchiverStats{
		Archived: n[0], LastArchived: string(row[1]), LastArchivedTime: microTime(n[2]),
		Failed: n[3], LastFailed: string(row[4]), LastFailedTime: microTime(n[5]),
	}, nil
}

// microTime is a time of so many microseconds since 1970; 0 is no time.
func microTime(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

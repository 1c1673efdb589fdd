package archive

import (
	"context"

	"pgpipes/lib/wal"
)

// A segmentLog is what has been read of the log in one segment.
type segmentLog struct{}

// readLog reads the log in a segment.
func (v *verifier) readLog(n wal.Name, key string, segment []byte) *segmentLog {
	return &segmentLog{}
}

// A joiner follows the log from one segment to the next.
type joiner struct {
	*verifier
}

func (j *joiner) join(ctx context.Context, job *walJob) error {
	if job.whole {
		for _, info := range job.objects() {
			j.Journal.add(info)
		}
	}
	return nil
}

func (j *joiner) end() error { return nil }

package verify

import (
	"context"
	"errors"

	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

// A joiner follows the log from one segment to the next.
type joiner struct {
	*verifier
	chain  wal.Chain
	before *walJob      // the one that the chain ends with, nil if there is none
	keep   []store.Info // what is to be noted when the records across its borders are known to be whole
}

// join takes the next group, in the order of timelines and numbers.
func (j *joiner) join(ctx context.Context, job *walJob) error {
	if job.log == nil {
		j.before, j.keep = nil, nil
		if job.whole { // no segment
			j.note(job.objects())
		}
		return nil
	}
	if j.before == nil || !job.follows(j.before.walGroup) {
		if err := j.begin(ctx, job); err != nil {
			return err
		}
	}
	if err := j.chain.Add(*job.log); err != nil {
		j.tell(job, err)
		job.whole = false
	}
	j.before = job
	j.collect(job)
	return nil
}

// tell tells of a fault between two segments, in the one that it is in: a record
// that goes on in the next segment is in that where it begins.
func (j *joiner) tell(job *walJob, err error) {
	key := job.key
	var d *wal.Damage
	if errors.As(err, &d) && j.before != nil && d.Name == j.before.log.Name {
		key = j.before.key
	}
	j.judge(key, err)
}

// collect notes groups, not before a record lies whole in one: until then a record
// may go on that began before, and whoever goes on has to know it from its
// beginning.
func (j *joiner) collect(job *walJob) {
	if !job.whole {
		j.keep = nil
		return
	}
	if j.keep = append(j.keep, job.objects()...); job.found {
		j.note(j.keep)
		j.keep = nil
	}
}

func (j *joiner) note(all []store.Info) {
	for _, info := range all {
		j.Journal.add(info)
	}
}

// begin begins a new chain. For the first segment of a timeline that is one which
// comes from the timeline before.
func (j *joiner) begin(ctx context.Context, job *walJob) error {
	j.chain, j.before, j.keep = wal.Chain{}, nil, nil
	if job.number == 0 {
		return nil
	}
	way := j.stock.coverage.Line(1, job.number-1, job.timeline, job.number)
	if len(way) < 2 || way[0].First != job.number-1 || way[1].Timeline != job.timeline {
		return nil
	}
	n := j.segment(way[0].Timeline, job.number-1)
	forms, err := j.Forms(ctx, n)
	if err != nil {
		return err
	}
	for _, info := range forms {
		c, err := j.readForm(ctx, n, info, false)
		if err == nil {
			j.before = &walJob{walGroup: &walGroup{timeline: n.Timeline, number: job.number - 1}, log: &c.log, key: info.Key}
			return j.chain.Add(c.log)
		}
	}
	return ctx.Err() // what is wrong with it has been found in its place
}

package restore

import (
	"context"
	"io"
	"runtime"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/stream"
)

// picking reads a stream of which only counts what is awaited and may be in it.
type picking struct {
	*stream.Intake
	seen   int64 // bytes
	unsure int64 // those of them that are not of whole files
}

func (r *restorer) picking(in io.Reader, of need, mayHave func(*listed) bool) *picking {
	t := &picking{Intake: stream.NewIntake(in)}
	t.Sparse = of.sparse()
	t.Place = r.placeListed
	t.Wants = func(m stream.Member) bool { return r.wantsListed(m, mayHave, !t.Bare) }
	t.Note = func(e manifest.Entry) error {
		t.unsure -= e.Size
		return r.noteListed(e)
	}
	t.Progress = func(done int64) {
		r.advance(done - t.seen)
		t.unsure += done - t.seen
		t.seen = done
	}
	return t
}

// pickingPart reads a part, of which only counts what the manifest says is in
// it. One of which little is wanted is left when that has come: nobody waits for
// the rest, which would prove nothing about what was taken.
func (r *restorer) pickingPart(in io.Reader, number int) *picking {
	t := r.picking(in, r.needs[number], func(f *listed) bool { return int(f.part) == number })
	t.Bare = number != r.plan.index.last
	if t.Bare && t.Sparse {
		t.Enough = func() bool { return r.needs[number].files == 0 }
	}
	t.Cores = stream.Decoders(runtime.GOMAXPROCS(0) / r.o.Jobs)
	return t
}

// pickingAll reads the one stream that there is.
func (r *restorer) pickingAll(in io.Reader) *picking {
	var all need
	for _, n := range r.needs {
		all.awaited, all.bytes = all.awaited+n.awaited, all.bytes+n.bytes
	}
	return r.picking(in, all, func(*listed) bool { return true })
}

// pick takes what is awaited from the one stream that there is.
func (r *restorer) pick(ctx context.Context, in io.Reader) error {
	if r.intake == nil {
		r.intake = r.pickingAll(in).Intake
	}
	return r.intake.Run(ctx)
}

// wantsListed says whether a member counts. The end members do, even if they
// have come before: the end of a restore needs what is in them.
func (r *restorer) wantsListed(m stream.Member, mayHave func(*listed) bool, isLast bool) bool {
	f := r.plan.index.find(m.Path)
	switch {
	case f == nil: // a manifest need not list backup_manifest
		return m.Path == pgdata.ManifestFile && isLast
	case f.kind != manifest.File || m.Kind != manifest.File || !mayHave(f):
		return false
	case stream.IsEnd(m.Path):
		return true
	}
	return f.state == awaited
}

// placeListed makes the place for a file of the manifest.
func (r *restorer) placeListed(m stream.Member) (io.WriteCloser, error) {
	if f := r.plan.index.find(m.Path); f != nil && f.size != m.Size {
		return nil, stream.Differs("%s: not of the size that the manifest says", manifest.Escape(m.Path))
	}
	return r.place(m)
}

// noteListed notes a file that has been written, if it is the right one.
func (r *restorer) noteListed(e manifest.Entry) error {
	f := r.plan.index.find(e.Path)
	switch {
	case f == nil:
		return nil
	case f.sum != beginning(e.SHA256):
		return stream.Differs("%s: not what the manifest says", manifest.Escape(e.Path))
	case f.state == received:
		r.advance(-e.Size) // counted before
		return nil
	}
	f.state = received
	r.needs[f.part].files--
	return r.add(e)
}

// add lists what is in its place.
func (r *restorer) add(e manifest.Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.entries.Add(e)
}

// advance counts bytes that are in their place.
func (r *restorer) advance(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done += n
	r.o.Progress(r.done, r.plan.total)
}

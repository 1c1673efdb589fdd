// Package restore makes a data directory of a base backup again.
//
// # Guarantees
//
// [Run] writes only into directories that were empty or absent, and never
// through a link out of them. Every byte is checked against a manifest, every
// file and directory is on stable storage, and only then global/pg_control
// gets its name, in one step: whatever happens, a data directory that can be
// started is complete and right. A restore that fails removes what it wrote;
// one that was killed leaves a mark by which the next one knows the remains.
//
// A backup in parts is read part by part, several at once. A part may hold what
// does not count; the manifest names for every file the one that does.
//
// A delta restore works in a data directory of the same cluster, and in the
// tablespaces that it links to. There global/pg_control goes first, before
// anything is changed, and comes back last. It becomes the mark: what a killed
// delta restore left can only be gone on with, as it may be all that there is.
package restore

import (
	"context"
	"io"
	"sync"

	"pgpipes/lib/manifest"
	"pgpipes/lib/stream"
)

// Run makes a data directory of a base stream. When it returns nil the
// data directory is complete, checked and on stable storage; it can be started
// once the server knows where to find WAL. When it fails it leaves the
// directories as it found them, empty or absent; mode, owner and time of one
// that was there may have changed. A delta restore does so until it changes
// something; after that it says by Warn what it leaves, and goes on when it is
// called again.
//
// Errors are in the chain of [ErrTarget], [stream.ErrBad] or [stream.ErrDiffers], of
// [manifest.ErrDamaged] for a bad manifest and of [lock.ErrBusy] for a
// directory into which another restore is under way, or are those of the file
// system. No error means a wrong or half-made cluster that could be started.
func Run(ctx context.Context, in io.Reader, o Options) error {
	o.fill()
	if err := o.check(); err != nil {
		return err
	}
	r := &restorer{o: o, ids: newIdentities()}
	defer r.close()
	if err := r.prepare(); err != nil {
		return err
	}
	err := r.targets.claim(o.Notice)
	if err == nil {
		err = r.restore(ctx, in)
	}
	if err != nil {
		err = join(err, r.targets.unclaim(o.Warn))
	}
	return err
}

// restorer is one restore under way.
type restorer struct {
	o        Options
	plan     *plan // nil without a manifest
	targets  *targets
	ids      *identities
	intake   *stream.Intake // of the stream that ends the backup
	missing  []uint32       // tablespaces in the stream that have no place
	control  stream.Member
	spaceMap stream.Member
	server   stream.Member // backup_manifest
	global   stream.Member // the directory
	wanted   *manifest.Writer
	differ   stream.Tally
	needs    []need // by part
	buffer   []byte // for files that are read again; nil until then

	mu      sync.Mutex
	entries *manifest.Writer // of all that is in its place
	done    int64            // bytes of contents that are
}

func (r *restorer) close() {
	r.plan.close()
	if r.intake != nil {
		r.intake.Close()
	}
	if r.targets != nil {
		r.targets.close()
	}
	for _, w := range []*manifest.Writer{r.wanted, r.entries} {
		if w != nil {
			w.Close()
		}
	}
}

// prepare reads the manifest and looks at the targets, and changes nothing.
func (r *restorer) prepare() (err error) {
	var known []manifest.Tablespace
	var own map[uint32]string
	var cluster uint64
	if r.o.Manifest != nil {
		if r.plan, err = newPlan(&r.o); err != nil {
			return err
		}
		known = r.plan.header.Tablespaces
	}
	if r.o.Delta {
		own, cluster = ownSpaces(r.o.Dir), r.plan.header.SystemID
	}
	if parts := r.streams(); r.o.Source.Text == "" && parts > 1 {
		return badTarget("the backup is in %d parts, which one stream cannot hold", parts).Advise("give --source COMMAND, which prints the part $PART of the backup $LABEL")
	}
	spaces, err := r.o.chooseSpaces(known, own)
	if err == nil {
		r.targets, err = newTargets(r.o.Dir, spaces, cluster)
	}
	return err
}

// streams is in how many streams the backup is, as far as that is known.
func (r *restorer) streams() int {
	if r.plan == nil {
		return 1
	}
	return len(r.plan.header.Parts)
}

// restore does the work between the marking of the directories and the end.
func (r *restorer) restore(ctx context.Context, in io.Reader) error {
	r.entries = manifest.NewWriter(r.targets.data.path)
	if err := r.makeReady(ctx, in); err != nil {
		return err
	}
	if err := r.receive(ctx, in); err != nil {
		return err
	}
	if err := r.check(); err != nil {
		return err
	}
	if err := r.writeSignal(); err != nil {
		return err
	}
	if err := r.settle(); err != nil {
		return err
	}
	if err := r.targets.sync(r.entries.Entries()); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.commit()
}

// makeReady does what comes before the contents.
func (r *restorer) makeReady(ctx context.Context, in io.Reader) error {
	if r.targets.data.inPlace {
		if err := r.takeStock(ctx); err != nil {
			return err
		}
	}
	if r.o.picks() {
		r.needs = r.plan.index.needs()
	}
	if r.plan != nil {
		if err := r.targets.checkRoom(r.plan, r.o.Room); err != nil {
			return err
		}
	}
	if r.targets.data.inPlace {
		err := r.probe(ctx, in)
		if err == nil {
			err = r.clear(ctx)
		}
		if err != nil {
			return err
		}
	}
	if err := r.targets.link(); err != nil || !r.o.picks() {
		return err
	}
	return r.layOut(ctx)
}

// receive writes the contents into the targets.
func (r *restorer) receive(ctx context.Context, in io.Reader) error {
	switch {
	case r.o.Source.Text != "":
		return r.takeParts(ctx)
	case r.o.picks():
		return r.pick(ctx, in)
	}
	return r.takeStream(ctx, in)
}

// takeStream takes one stream as it comes. Temporary files go to the data
// directory, where there is room.
func (r *restorer) takeStream(ctx context.Context, in io.Reader) error {
	r.intake = stream.NewIntake(in)
	r.intake.Place, r.intake.Note = r.place, r.entries.Add
	var total int64
	if r.plan != nil {
		total = r.plan.total
	} else {
		r.wanted = manifest.NewWriter(r.targets.data.path)
		r.intake.Each = r.want
	}
	r.intake.Progress = func(done int64) { r.o.Progress(done, total) }
	if err := r.intake.Run(ctx); err != nil {
		return err
	}
	if len(r.missing) > 0 {
		return needPlaces(r.missing)
	}
	return nil
}

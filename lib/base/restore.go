package base

import (
	"context"
	"io"

	"pgpipes/lib/manifest"
)

// RestoreOptions say where to restore to. Dir is needed.
type RestoreOptions struct {
	// Dir is the data directory. It must be empty or absent, or hold what a
	// killed restore left.
	Dir string
	// Manifest is the backup's manifest. It is read twice, so what cannot be
	// rewound goes through a temporary file. Without it the stream is checked
	// against the backup_manifest in it.
	Manifest io.Reader
	// Tablespaces are the places of the tablespaces by OID, absolute, under
	// the rules for Dir: all of them, or none. With a manifest and none given
	// they go back to where they were.
	Tablespaces map[uint32]string
	// Progress is told the bytes of file contents written, and how many there
	// are, 0 if that is unknown. May be nil.
	Progress func(done, total int64)
	// Room is told, before anything is written, how many bytes are needed and
	// free in the file system of a directory. Only a manifest knows. May be nil.
	Room func(dir string, need, free int64)
	// Notice is told a line about what else is being done. May be nil.
	Notice func(format string, args ...any)
}

func (o *RestoreOptions) fill() {
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	if o.Room == nil {
		o.Room = func(string, int64, int64) {}
	}
	if o.Notice == nil {
		o.Notice = func(string, ...any) {}
	}
}

// Restore makes a data directory of a base stream. When it returns nil the
// data directory is complete, checked and on stable storage; it can be started
// once the server knows where to find WAL. When it fails it leaves the
// directories as it found them, empty or absent; mode, owner and time of one
// that was there may have changed.
//
// Errors are in the chain of [ErrTarget], [ErrStream] or [ErrDiffers], of
// [manifest.ErrDamaged] for a bad manifest and of [lock.ErrBusy] for a
// directory into which another restore is under way, or are those of the file
// system. No error means a wrong or half-made cluster that could be started.
func Restore(ctx context.Context, in io.Reader, o RestoreOptions) error {
	o.fill()
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
		err = join(err, r.targets.unclaim())
	}
	return err
}

// restorer is one restore under way.
type restorer struct {
	o        RestoreOptions
	plan     *plan // nil without a manifest
	targets  *targets
	ids      *identities
	intake   *intake
	missing  []uint32 // tablespaces in the stream that have no place
	control  Member
	spaceMap Member
	server   Member // backup_manifest
	global   Member // the directory
	wanted   *manifest.Writer
	differ   tally
}

func (r *restorer) close() {
	r.plan.close()
	if r.targets != nil {
		r.targets.close()
	}
	for _, w := range []*manifest.Writer{r.wanted, r.entries()} {
		if w != nil {
			w.Close()
		}
	}
}

func (r *restorer) entries() *manifest.Writer {
	if r.intake == nil {
		return nil
	}
	return r.intake.entries
}

// prepare reads the manifest and looks at the targets, and changes nothing.
func (r *restorer) prepare() (err error) {
	var known []manifest.Tablespace
	if r.o.Manifest != nil {
		if r.plan, err = newPlan(r.o.Manifest); err != nil {
			return err
		}
		known = r.plan.header.Tablespaces
	}
	spaces, err := chooseSpaces(known, r.plan != nil, r.o.Tablespaces)
	if err == nil {
		r.targets, err = newTargets(r.o.Dir, spaces)
	}
	return err
}

// restore does the work between the marking of the directories and the end.
func (r *restorer) restore(ctx context.Context, in io.Reader) error {
	if r.plan != nil {
		if err := r.targets.checkRoom(r.plan, r.o.Room); err != nil {
			return err
		}
	}
	if err := r.receive(ctx, in); err != nil {
		return err
	}
	if err := r.check(); err != nil {
		return err
	}
	if err := r.settle(); err != nil {
		return err
	}
	if err := r.targets.sync(r.intake.entries.Entries()); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.commit()
}

// receive writes the stream into the targets. Temporary files go to the data
// directory, where there is room.
func (r *restorer) receive(ctx context.Context, in io.Reader) error {
	dir := r.targets.data.path
	r.intake = newIntake(in, dir)
	r.intake.place = r.place
	var total int64
	if r.plan != nil {
		total = r.plan.header.Bytes
	} else {
		r.wanted = manifest.NewWriter(dir)
		r.intake.each = r.want
	}
	r.intake.progress = func(done int64) { r.o.Progress(done, total) }
	if err := r.intake.run(ctx); err != nil {
		return err
	}
	if len(r.missing) > 0 {
		return needPlaces(r.missing)
	}
	return nil
}

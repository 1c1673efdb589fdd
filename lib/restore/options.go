package restore

import (
	"io"
	"runtime"

	"pgpipes/lib/filter"
)

// Options say where to restore to. Dir is needed.
type Options struct {
	// Dir is the data directory. It must be empty or absent, or hold what a
	// killed restore left.
	Dir string
	// Signal is the name of a signal file, recovery.signal or standby.signal,
	// that is made before the data directory can be started. May be "".
	Signal string
	// Manifest is the backup's manifest. It is read several times, so what
	// cannot be rewound goes through a temporary file. Without it the stream is
	// checked against the backup_manifest in it.
	Manifest io.Reader
	// Source is a shell command that prints a part of the backup, whose name is
	// in its environment as PART, with the label of the backup that stored it as
	// LABEL and its key in the repository, as far as the manifest knows it, as
	// KEY, and as TRY which time it is asked for. With it no stream is read. It
	// needs a Manifest. Of a part of which little is wanted it is killed when that
	// has come.
	Source filter.Command
	// Jobs is how many parts are taken, and files in place read, at once; 0 is as
	// many as there are cores.
	Jobs int
	// Delta makes of a data directory that is there already the one of the
	// backup: what is right stays, and what the manifest does not list goes. It
	// must be of the same cluster, and no server may run in it. It needs a
	// Manifest.
	Delta bool
	// Databases are those to restore, by OID, or by name if the manifest has
	// names; none means all. Of the files of others there are only holes.
	Databases []string
	// Tablespaces are the places of the tablespaces by OID, absolute, under
	// the rules for Dir: all of them, or none. With a manifest and none given
	// they go back to where they were.
	Tablespaces map[uint32]string
	// Moved are places by where the tablespaces were, both absolute and clean.
	Moved map[string]string
	// TablespaceRoot, unless empty, is the directory in which a tablespace
	// without another place gets one, which is called by its OID.
	TablespaceRoot string
	// Progress is told the bytes of file contents that are in place, and how
	// many there are, 0 if that is unknown. May be nil.
	Progress func(done, total int64)
	// Room is told, before anything is written, how many bytes are needed and
	// free in the file system of a directory. Only a manifest knows. May be nil.
	Room func(dir string, need, free int64)
	// Notice is told a line about what else is being done. May be nil.
	Notice func(format string, args ...any)
	// Warn is told a line about what somebody should know. May be nil.
	Warn func(format string, args ...any)
}

func (o *Options) fill() {
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	if o.Room == nil {
		o.Room = func(string, int64, int64) {}
	}
	if o.Notice == nil {
		o.Notice = func(string, ...any) {}
	}
	if o.Warn == nil {
		o.Warn = func(string, ...any) {}
	}
	if o.Jobs < 1 {
		o.Jobs = runtime.GOMAXPROCS(0)
	}
}

// picks reports whether not simply everything in one stream is taken.
func (o *Options) picks() bool {
	return o.Source.Text != "" || o.Delta || len(o.Databases) > 0
}

// check refuses what cannot be done without a manifest.
func (o *Options) check() error {
	if o.picks() && o.Manifest == nil {
		return badTarget("only a manifest says what there is to choose from")
	}
	return nil
}

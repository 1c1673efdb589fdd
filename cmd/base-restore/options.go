package main

import (
	"pgpipes/lib/cli"
	"pgpipes/lib/filter"
	"pgpipes/lib/restore"
)

var options struct {
	cli.Progress
	Data        string   `short:"D" long:"pgdata" env:"PGDATA" value-name:"DIR" description:"the data directory to make; empty or absent, but for --delta"`
	Manifest    string   `short:"m" long:"manifest" value-name:"FILE" description:"check against this manifest; by default against the backup_manifest in the stream"`
	Source      string   `long:"source" value-name:"COMMAND" description:"take the parts of the backup from COMMAND, run once for each by sh, with LABEL, PART, KEY and TRY in its environment"`
	Jobs        cli.Jobs `short:"j" long:"jobs" value-name:"N" description:"how many parts to take, and files in place to read, at once; as many as there are cores by default"`
	Delta       bool     `long:"delta" description:"over an existing data directory: take only what differs, remove what the backup does not have"`
	Signal      string   `long:"signal" choice:"recovery" choice:"standby" description:"create recovery.signal or standby.signal before the server can be started"`
	Databases   []string `long:"only-database" value-name:"OID" description:"of the databases made by users restore this one; may be repeated"`
	Tablespaces []string `long:"tablespace" value-name:"OID=DIR" description:"put the tablespace OID, or with OLDDIR=DIR the one that was there, into DIR; given for all tablespaces or for none"`
	Root        string   `long:"tablespace-root" value-name:"DIR" description:"put the tablespaces without another place into DIR/OID"`
}

// restoreOptions are the options but for what has to be opened.
func restoreOptions(p *cli.Process) (o restore.Options, err error) {
	switch {
	case options.Data == "":
		return o, cli.Hint(cli.Usagef("which directory?"), "give -D DIR, or set PGDATA")
	case options.Manifest == "" && (options.Source != "" || options.Delta || len(options.Databases) > 0):
		return o, cli.Hint(cli.Usagef("only a manifest says what there is to choose from"), "give -m FILE")
	}
	places, err := readPlaces(options.Tablespaces)
	if err != nil {
		return o, err
	}
	signal := options.Signal
	if signal != "" {
		signal += ".signal"
	}
	return restore.Options{
		Dir: options.Data, Signal: signal, Jobs: int(options.Jobs), Delta: options.Delta, Databases: options.Databases,
		Source:      filter.Command{Text: options.Source, Stderr: p.Err},
		Tablespaces: places.byOID, Moved: places.byPath, TablespaceRoot: options.Root,
		Notice: p.Verbosef, Warn: p.Warnf,
		Room: func(dir string, need, free int64) {
			p.Remarkf("%s: %s are needed, %s are free", dir, cli.Bytes(need), cli.Bytes(free))
		},
	}, nil
}

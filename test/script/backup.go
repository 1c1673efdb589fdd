package script

import (
	"os"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
)

// backup makes a complete backup of nearly nothing in a repository: it began in
// segment first and ended in segment last, at the time stop.
func backup(ts *testscript.TestScript, _ bool, args []string) {
	values, rest := settings(args)
	need(ts, rest, 2, "backup [tli=N] first=N last=N stop=TIME [system=N] [parent=LABEL] REPOSITORY LABEL")
	stop, err := time.Parse(time.RFC3339, values["stop"])
	ts.Check(err)
	files, err := fixture.Backup{
		Label: rest[1], SystemID: uint64(number(ts, values, "system")), Timeline: wal.Timeline(number(ts, values, "tli")),
		First: uint64(number(ts, values, "first")), Last: uint64(number(ts, values, "last")), Stop: stop,
		Parent: values["parent"],
	}.Files()
	ts.Check(err)
	dir := filepath.Join(ts.MkAbs(rest[0]), "base", rest[1])
	ts.Check(os.MkdirAll(dir, 0o750))
	for name, contents := range files {
		ts.Check(os.WriteFile(filepath.Join(dir, name), contents, 0o640))
	}
}

func stream(ts *testscript.TestScript, _ bool, args []string) {
	need(ts, args, 1, "stream FILE")
	b, err := fixture.BaseStream()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}

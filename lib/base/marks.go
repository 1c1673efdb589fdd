package base

import "pgpipes/lib/durable"

// The names of the marks that a restore under way has in its directories: in a
// data directory, in that of a tablespace, and in a data directory that was there
// already. No member of a stream may have them.
const (
	dataMark       = durable.TemporaryPrefix + "restoring"
	tablespaceMark = durable.TemporaryPrefix + "restoring-tablespace"
	deltaMark      = durable.TemporaryPrefix + "restoring-delta"
)

func isMark(name string) bool {
	return name == dataMark || name == tablespaceMark || name == deltaMark
}

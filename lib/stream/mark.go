package stream

import "pgpipes/lib/durable"

// The names of the marks that a restore under way has in its directories: in a
// data directory, in that of a tablespace, and in a data directory that was there
// already. No member of a stream may have them.
const (
	DataMark       = durable.TemporaryPrefix + "restoring"
	TablespaceMark = durable.TemporaryPrefix + "restoring-tablespace"
	DeltaMark      = durable.TemporaryPrefix + "restoring-delta"
)

// IsMark holds for the names of marks. name has no directory.
func IsMark(name string) bool {
	return name == DataMark || name == TablespaceMark || name == DeltaMark
}

package verify

import (
	"bytes"
	"fmt"

	"pgpipes/lib/archive"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/wal"
)

// checkBackupHistory compares the text of a .backup file with its name. It is
// that of a backup_label with the place of the end as second line, and more at
// the end (xlogbackup.c: build_backup_content).
func (v *verifier) checkBackupHistory(n wal.Name, text []byte) error {
	start, rest, _ := bytes.Cut(text, []byte("\n"))
	stop, rest, _ := bytes.Cut(rest, []byte("\n"))
	if !bytes.HasPrefix(stop, []byte("STOP WAL LOCATION: ")) {
		return fmt.Errorf("%w: it does not say where the backup ended", archive.ErrDamaged)
	}
	l, err := pgdata.ParseLabel(append(append(bytes.Clone(start), '\n'), rest...))
	if err != nil {
		return fmt.Errorf("%w: %v", archive.ErrDamaged, err)
	}
	if l.StartFile != n.Base() || uint64(l.StartLSN)%uint64(v.SegmentSize) != uint64(n.Offset) {
		return fmt.Errorf("%w: its backup began at %s, in %s", archive.ErrDamaged, l.StartLSN, l.StartFile)
	}
	return nil
}

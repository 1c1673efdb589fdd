package stream

import "pgpipes/lib/pgdata"

// keptFiles are those of which [Keeps] tells.
var keptFiles = map[string]int64{
	pgdata.LabelFile:         1 << 20,
	pgdata.TablespaceMapFile: 16 << 20,
	pgdata.ControlFile:       pgdata.ControlSize,
}

// Keeps says whether a file is one whose contents a reader of a stream needs, and
// how many bytes it may have.
func Keeps(path string) (limit int64, ok bool) {
	limit, ok = keptFiles[path]
	return limit, ok
}

// IsEnd holds for the members that end a stream, and differ in every backup.
func IsEnd(path string) bool {
	_, ok := Keeps(path)
	return ok || path == pgdata.ManifestFile
}

// CheckEnd makes sure that a stream that has been read holds what a server
// needs to start from it as from a backup. Without backup_label it would start
// from any checkpoint, silently wrong. The result is what pg_control says; errors
// are of the kind [ErrBad], or those of pgdata for the two files.
func (t *Intake) CheckEnd() (pgdata.Control, error) {
	raw, found := t.Kept[pgdata.ControlFile]
	if !found {
		return pgdata.Control{}, Bad("no %s in the stream", pgdata.ControlFile)
	}
	control, err := pgdata.ParseControl(raw)
	if err != nil {
		return control, err
	}
	text, found := t.Kept[pgdata.LabelFile]
	if !found {
		return control, Bad("no %s in the stream: it is not a backup", pgdata.LabelFile)
	}
	label, err := pgdata.ParseLabel(text)
	if err == nil && label.Incremental {
		err = Bad("an incremental backup, which is not a data directory").Advise("make one of it and its full backup with pg_combinebackup")
	}
	return control, err
}

package backup

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/server"
	"pgpipes/lib/stream"
)

// ownMode is that of files that are nobody else's.
const ownMode = 0o600

// groupRead is what the mode of a data directory has to have for its group to be let
// in (file_perm.h: PG_DIR_MODE_GROUP).
const groupRead = 0o050

// endMode is the mode that a server gives its files, by that of its data directory
// (file_perm.c: SetDataDirectoryCreatePerm). What is made here gets it: a pg_control
// keeps for ever what it is restored with.
func endMode(data fs.FileMode) fs.FileMode {
	if data&groupRead == groupRead {
		return 0o640
	}
	return ownMode
}

// A made file is one of the members that end a stream, as the server has told
// of it.
type made struct {
	stream.Member
	text []byte
}

// end writes what completes a stream: without pg_control, which comes nearly
// last, nobody can start a server on it. The worker is that of the only part;
// of several parts this is one more.
func (c *copier) end(ctx context.Context, w *worker, stopped server.StopResult, control []byte) error {
	files := c.endFiles(stopped, control)
	for _, f := range files {
		if err := c.listing.promise(f.Entry); err != nil {
			return err
		}
	}
	h := c.header
	list, size, err := c.listing.serverManifest(manifest.WALRange{Timeline: h.StartTimeline, Start: h.StartLSN, End: h.StopLSN})
	if err != nil {
		return err
	}
	files = append(files, made{c.newFile(pgdata.ManifestFile, size), nil})
	write := func(ctx context.Context, w *worker) error {
		if err := c.copyWAL(ctx, w); err != nil {
			return err
		}
		for _, f := range files {
			var text io.Reader = bytes.NewReader(f.text)
			if f.Path == pgdata.ManifestFile {
				text = io.NewSectionReader(list, 0, size)
			}
			if err := w.sink.AddFile(f.Member, text); err != nil {
				return err
			}
		}
		return nil
	}
	if c.outlet != nil {
		err = c.writePart(ctx, newWorker(c.tree), c.outlet.numbers.next(), write)
	} else if err = write(ctx, w); err == nil {
		err = w.sink.End()
	}
	c.header.Parts = c.allParts()
	return err
}

// endFiles are the files that a server finds out from what it is to recover.
func (c *copier) endFiles(stopped server.StopResult, control []byte) []made {
	var list []made
	add := func(path string, text []byte) {
		m := made{c.newFile(path, int64(len(text))), text}
		sum := sha256.Sum256(text)
		m.SHA256 = hex.EncodeToString(sum[:])
		list = append(list, m)
	}
	add(pgdata.LabelFile, stopped.Label)
	if len(stopped.TablespaceMap) > 0 {
		add(pgdata.TablespaceMapFile, stopped.TablespaceMap)
	}
	add(pgdata.ControlFile, control)
	return list
}

// newFile describes a file that is made here.
func (c *copier) newFile(path string, size int64) stream.Member {
	e := manifest.Entry{
		Kind: manifest.File, Path: path, Mode: c.tree.endMode, Owner: c.tree.owned, Size: size, MTime: c.header.StopTime,
	}
	return stream.Member{Entry: e, UID: int(c.tree.owner.uid), GID: int(c.tree.owner.gid)}
}

// allParts are the parts that the manifest needs: those of other backups, and
// then the copy's own in order.
func (c *copier) allParts() []manifest.Part {
	list := append(c.tree.ancestor.needed(), c.parts...)
	slices.SortStableFunc(list, func(a, b manifest.Part) int { return cmp.Compare(ownNumber(a), ownNumber(b)) })
	return list
}

// ownNumber is the number of a part of the backup itself, -1 of another's.
func ownNumber(p manifest.Part) int {
	if n, err := strconv.Atoi(p.Name); err == nil && !strings.Contains(p.Name, "/") {
		return n
	}
	return -1
}

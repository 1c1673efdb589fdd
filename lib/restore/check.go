package restore

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/stream"
)

// check compares everything that was received with what was promised.
func (r *restorer) check() error {
	control, err := r.intake.CheckEnd()
	if err != nil {
		return err
	}
	for _, id := range []uint64{r.intake.Server.SystemID, r.systemID()} {
		if id != 0 && id != control.SystemID {
			return stream.Differs("the stream is of another cluster than the manifest")
		}
	}
	r.differ.Tell = r.o.Notice
	if r.plan == nil {
		return r.compareServer()
	}
	want, err := r.plan.reader()
	if err != nil {
		return err
	}
	return r.differ.Gather(stream.Compare(want, r.entries.Entries(), manifest.CompareOptions{
		IgnoreMode: r.targets.data.inPlace, // it is set after this
		Ignore:     r.plan.excludes,
	}))
}

func (r *restorer) systemID() uint64 {
	if r.plan == nil {
		return 0
	}
	return r.plan.header.SystemID
}

// want takes a file of backup_manifest. A checksum of another kind than ours is
// compared here: the file, complete since backup_manifest comes last, is read
// again.
func (r *restorer) want(f manifest.ServerFile) error {
	e := manifest.Entry{Kind: manifest.File, Path: f.Path, Size: f.Size}
	if f.Algorithm == "SHA256" {
		e.SHA256 = f.Checksum
	} else {
		sum, ours, err := r.rehash(f)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err == nil && sum != f.Checksum && !pgdata.Unlisted(f.Path) {
			r.differ.Add(manifest.Difference{Path: f.Path, What: f.Algorithm + " " + sum + ", expected " + f.Checksum})
		}
		e.SHA256 = ours
	}
	return r.wanted.Add(e)
}

// rehash reads a file again.
func (r *restorer) rehash(f manifest.ServerFile) (sum, ours string, err error) {
	theirs, err := manifest.NewServerHash(f.Algorithm)
	if err != nil {
		return "", "", err
	}
	var in io.Reader = bytes.NewReader(r.intake.Kept[f.Path])
	if _, kept := r.intake.Kept[f.Path]; !kept {
		t, name := r.targets.find(f.Path)
		file, err := t.root.Open(name)
		if err != nil {
			return "", "", err
		}
		defer file.Close()
		in = file
	}
	h := sha256.New()
	to := struct{ io.Writer }{io.MultiWriter(theirs, h)}
	if r.buffer == nil {
		r.buffer = make([]byte, stream.BufferSize)
	}
	_, err = io.CopyBuffer(to, struct{ io.Reader }{in}, r.buffer)
	return hex.EncodeToString(theirs.Sum(nil)), hex.EncodeToString(h.Sum(nil)), err
}

// compareServer compares the files with backup_manifest, which knows no more
// of them than size and hash, and nothing of directories.
func (r *restorer) compareServer() error {
	o := manifest.CompareOptions{IgnoreMode: true, IgnoreOwner: true, Ignore: pgdata.Unlisted}
	got := stream.Files(r.entries.Entries())
	return r.differ.Gather(manifest.Compare(r.wanted.Entries(), got, o))
}

// rewriteServerManifest writes a backup_manifest in which the changed
// tablespace_map is right, so that pg_verifybackup accepts the data directory.
func (r *restorer) rewriteServerManifest(spaceMap []byte) error {
	sum := sha256.Sum256(spaceMap)
	return r.writeFile(r.server, func(w io.Writer) error {
		m := manifest.NewServerManifestWriter(w)
		files := stream.Files(r.entries.Entries())
		for {
			e, err := files.Next()
			if err == io.EOF {
				return m.Finish(r.intake.Server.WALRanges)
			}
			if err != nil {
				return err
			}
			if e.Path == pgdata.TablespaceMapFile {
				e.Size, e.SHA256 = int64(len(spaceMap)), hex.EncodeToString(sum[:])
			}
			if e.Path == pgdata.ManifestFile || pgdata.IsWAL(e.Path) {
				continue
			}
			if err := m.Add(e.Path, e.Size, e.MTime, e.SHA256); err != nil {
				return err
			}
		}
	})
}

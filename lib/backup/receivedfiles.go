package backup

import (
	"encoding/binary"
	"io"
	"path"
	"runtime"
	"strconv"
	"sync"

	"pgpipes/lib/codec"
	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/server"
	"pgpipes/lib/stream"
)

// receiveFiles reads all that the server sends: the tablespaces first, then the
// data directory, then the manifest.
func (r *receiver) receiveFiles() error {
	for {
		s, err := r.backup.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil && s.Name == server.SentManifest {
			err = r.promised.read(r.backup)
		} else if err == nil {
			err = r.archive(s)
		}
		if err != nil {
			return err
		}
	}
}

// archive reads one tar. What lies in a tablespace gets its place below
// pg_tblspc.
func (r *receiver) archive(s server.Sent) error {
	_, format := codec.SplitName(s.Name)
	in, err := codec.NewReaderFormat(r.backup, format, stream.Decoders(runtime.GOMAXPROCS(0)))
	if err != nil {
		return err
	}
	defer in.Close()
	place := "."
	if s.OID != 0 {
		place = path.Join(pgdata.TablespaceDir, strconv.FormatUint(uint64(s.OID), 10))
	}
	reader := stream.NewReader(in)
	reader.Bare = true
	for {
		m, err := reader.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			m.Path = path.Join(place, m.Path)
			err = r.member(reader, m)
		}
		if err != nil {
			return err
		}
	}
}

// member decides what becomes of a member.
func (r *receiver) member(in io.Reader, m stream.Member) error {
	if err := r.first(m); err != nil {
		return err
	}
	switch m.Kind {
	case manifest.Directory:
		if r.isFirst(m.Path) || !r.belongs(m) {
			return nil
		}
		return r.directory(m)
	case manifest.File:
		in, err := r.promised.watch(in, m)
		if err != nil {
			return err
		}
		return r.contents(in, m)
	}
	return stream.Bad("%s: a link, where the server is to send what it leads to", manifest.Escape(m.Path))
}

// contents takes the contents of a file.
func (r *receiver) contents(in io.Reader, m stream.Member) error {
	limit, keep := stream.Keeps(m.Path)
	switch {
	case keep && m.Size > limit:
		return stream.Bad("%s: %d bytes are too many for it", m.Path, m.Size)
	case keep:
		text, err := io.ReadAll(in)
		r.kept[m.Path] = text
		return err
	case !r.belongs(m):
		_, err := io.Copy(io.Discard, in)
		return err
	}
	return r.file(in, m)
}

// belongs reports whether a member belongs into a copy: servers send a little
// that does not. The WAL is what was asked for.
func (r *receiver) belongs(m stream.Member) bool {
	return pgdata.IsWAL(m.Path) || pgdata.Classify(m.Path, m.Kind == manifest.Directory) != pgdata.Skip
}

// first writes the directories that a stream begins with, which are in none of
// the tars. They belong to whom the first member belongs.
func (r *receiver) first(like stream.Member) error {
	if r.opened {
		return nil
	}
	r.opened = true
	r.tree.owner, r.tree.owned = owner{uint32(like.UID), uint32(like.GID)}, like.Owner
	names := []string{".", pgdata.TablespaceDir}
	for _, s := range r.backup.Tablespaces {
		names = append(names, path.Join(pgdata.TablespaceDir, strconv.FormatUint(uint64(s.OID), 10)))
	}
	for _, name := range names {
		if err := r.directory(r.firstMember(name, like)); err != nil {
			return err
		}
	}
	return nil
}

func (r *receiver) isFirst(name string) bool {
	_, inner, inTablespace := pgdata.SplitTablespace(name)
	return name == "." || name == pgdata.TablespaceDir || inTablespace && inner == "."
}

func (r *receiver) directory(m stream.Member) error {
	s, err := r.cutter.next(0)
	if err != nil {
		return err
	}
	return s.AddDirectory(m)
}

// file writes a file. A piece is hashed and written while the next one comes.
func (r *receiver) file(in io.Reader, m stream.Member) error {
	s, err := r.cutter.next(m.Size)
	if err != nil {
		return err
	}
	if err := s.StartFile(m); err != nil {
		return err
	}
	first, isRelation := r.tree.control.FirstBlock(m.Path)
	var working sync.WaitGroup
	defer working.Wait()
	var failed error // of writing
	for at, i := int64(0), 0; at < m.Size; i++ {
		piece := r.buffers[i%len(r.buffers)][:min(m.Size-at, readSize)]
		if _, err := io.ReadFull(in, piece); err != nil {
			return err
		}
		if working.Wait(); failed != nil {
			return failed
		}
		from := at
		working.Go(func() {
			if isRelation {
				r.checkPages(piece, from, m.Path, first)
			}
			_, failed = s.Write(piece)
		})
		at += int64(len(piece))
		r.tree.pace.Add(int64(len(piece)))
	}
	if working.Wait(); failed != nil {
		return failed
	}
	if _, err := in.Read(make([]byte, 1)); err != io.EOF { // which it notes
		return err
	}
	return s.EndFile()
}

// upperAt is where a page says where its free space ends (bufpage.h: pd_upper).
const upperAt = 14

// checkPages notes which pages are bad, by the rules of the server
// (basebackup.c:verify_page_checksum): one whose free space ends at 0 counts as
// new. The server has read a bad page again before it sent it.
func (r *receiver) checkPages(piece []byte, at int64, name string, first uint32) {
	size := r.identity.BlockSize
	for i := 0; i+size <= len(piece); i += size {
		page := piece[i : i+size]
		block := first + uint32((at+int64(i))/int64(size))
		if v := pgdata.CheckPage(page, block, r.tree.start); !isRight(v) && binary.LittleEndian.Uint16(page[upperAt:]) != 0 {
			sum := stream.PageSum(page, block)
			r.bad.note(manifest.BadPage{Path: name, Block: block, First: sum, Last: sum}, v, page)
		}
	}
}

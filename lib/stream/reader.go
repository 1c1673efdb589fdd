// Package stream is the tar that a base backup is: its members, how it is written
// and read, when it is complete, and whether what has come is what a manifest
// says.
//
// # Format
//
// A base stream is a POSIX tar of the data directory, tablespaces included as
// pg_tblspc/<oid>/PG_…. Its last members are backup_label, tablespace_map (if
// there are tablespaces), global/pg_control and backup_manifest, PostgreSQL's
// own list of the files; after them comes the trailer of the tar. Without
// pg_control no server starts, so a stream that was cut cannot be taken for a
// cluster by whoever unpacks it with tar alone. What pg_basebackup -Ft -D -
// writes is a base stream too.
//
// A backup may be in parts, each a whole tar. Only the last of them has the members
// that end a backup; a reader of another one must not ask for them (Bare).
package stream

import (
	"archive/tar"
	"bufio"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"pgpipes/lib/codec"
	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
)

const (
	// BufferSize is how many bytes of contents are read and written at once.
	BufferSize = 1 << 20
	// headerBuffer is for what is read in small pieces, the headers.
	headerBuffer = 64 << 10

	blockSize   = 512           // of a tar
	trailerSize = 2 * blockSize // the two empty blocks that end a tar
)

// late are files that pg_basebackup -R adds behind backup_manifest.
var late = map[string]bool{"standby.signal": true, "postgresql.auto.conf": true}

// Member is a member of a base stream. The SHA256 of its entry is not known
// yet.
type Member struct {
	manifest.Entry
	User, Group string // names, "" if the stream has none
	UID, GID    int
}

// Reader reads the members of a base stream. It gives only directories, files
// and, as streams of PostgreSQL's own may have them, links pg_tblspc/<oid>;
// everything else is an error, and so is a name that leads out of the data
// directory. It does not know whether a path comes twice, or below a file.
//
// Errors due to the stream are in the chain of [ErrBad]; those of the
// underlying reader are passed on.
type Reader struct {
	// Bare says that the stream need not have a backup_manifest.
	Bare bool

	in    counter
	tar   *tar.Reader
	rest  int64  // bytes of the latest member that were not read
	last  string // path of the latest member
	ended bool   // backup_manifest has come
}

// NewReader returns a Reader of a base stream.
func NewReader(r io.Reader) *Reader {
	b := &Reader{in: counter{from: bufio.NewReaderSize(r, headerBuffer)}}
	b.in.skipper, _ = r.(codec.Skipper)
	b.tar = tar.NewReader(&b.in)
	return b
}

// counter counts bytes and remembers an error.
type counter struct {
	from    *bufio.Reader
	skipper codec.Skipper // what from reads, if it can skip
	n       int64
	err     error // of from, unless it has ended in order
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += int64(n)
	return n, c.note(err)
}

func (c *counter) note(err error) error {
	if err != nil && err != io.EOF {
		c.err = err
	}
	return err
}

// Seek goes forward from where the counter is. With it the tar reader passes
// over contents, and reads the last byte of them to see whether they are there.
func (c *counter) Seek(offset int64, _ int) (int64, error) {
	if c.skipper == nil || offset <= int64(c.from.Buffered()) {
		_, err := io.CopyN(io.Discard, c, offset)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return c.n, err
	}
	c.n += offset
	offset -= int64(c.from.Buffered())
	c.from.Reset(c.skipper)
	return c.n, c.note(c.skipper.Skip(offset))
}

// Next goes to the next member. It returns io.EOF only if the stream is
// complete: backup_manifest was its last member, the trailer of the tar was
// there, and nothing but zeros was behind it.
func (b *Reader) Next() (Member, error) {
	start := (b.in.n + b.rest + blockSize - 1) / blockSize * blockSize
	h, err := b.tar.Next()
	if err == io.EOF && b.in.err == nil {
		return Member{}, b.end(b.in.n - start)
	}
	if err != nil {
		return Member{}, b.fault(err)
	}
	m, err := newMember(h)
	if err != nil {
		return Member{}, err
	}
	if b.ended && !late[m.Path] {
		return Member{}, Bad("%s: comes after %s, which ends a base stream", manifest.Escape(m.Path), pgdata.ManifestFile)
	}
	b.rest, b.last = m.Size, m.Path
	b.ended = b.ended || m.Path == pgdata.ManifestFile
	return m, nil
}

// Read reads the contents of the member that Next has returned.
func (b *Reader) Read(p []byte) (int, error) {
	n, err := b.tar.Read(p)
	b.rest -= int64(n)
	if err != nil && err != io.EOF {
		err = b.fault(err)
	}
	return n, err
}

// end proves that the stream is complete. The tar reader takes a stream that
// ends between two members for whole; it is only if the trailer was read.
func (b *Reader) end(read int64) error {
	if read != trailerSize {
		return b.cut()
	}
	buffer := make([]byte, headerBuffer)
	for {
		n, err := b.in.Read(buffer)
		for _, c := range buffer[:n] {
			if c != 0 {
				return Bad("something follows the end of the stream").Advise("one stream at a time: are there two in it?")
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if !b.ended && !b.Bare {
		return Bad("no %s in the stream: it is not complete", pgdata.ManifestFile)
	}
	return io.EOF
}

func (b *Reader) fault(err error) error {
	switch {
	case b.in.err != nil:
		return b.in.err
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return b.cut()
	case b.last == "":
		return Bad("not a tar stream").Advise("is it encrypted? Then it must be decrypted before")
	}
	return Bad("damaged after %s: %v", manifest.Escape(b.last), err)
}

func (b *Reader) cut() error {
	if b.in.n == 0 {
		return Bad("the stream is empty")
	}
	if b.last == "" {
		return Bad("the stream is cut off at its beginning")
	}
	return Bad("the stream is cut off after %s", manifest.Escape(b.last))
}

var kinds = map[byte]byte{tar.TypeReg: manifest.File, tar.TypeDir: manifest.Directory, tar.TypeSymlink: manifest.Link}

// newMember makes sure that a tar header is one that a base stream can have.
func newMember(h *tar.Header) (Member, error) {
	m := Member{User: h.Uname, Group: h.Gname, UID: h.Uid, GID: h.Gid}
	m.Kind = kinds[h.Typeflag]
	m.Mode, m.MTime = fs.FileMode(h.Mode&0o7777), h.ModTime
	m.Owner = nameOr(h.Uname, h.Uid) + ":" + nameOr(h.Gname, h.Gid)
	var ok bool
	if m.Path, ok = cleanPath(h.Name); !ok {
		return m, Bad("%s: the name leads out of the data directory", manifest.Escape(h.Name))
	}
	switch _, inner, inTablespace := pgdata.SplitTablespace(m.Path); {
	case m.Kind == 0 || m.Kind == manifest.Link && !(inTablespace && inner == "."):
		return m, Bad("%s: neither a file nor a directory", manifest.Escape(m.Path))
	case m.Kind != manifest.Directory && m.Path == ".":
		return m, Bad("the data directory is not a directory")
	case isSparse(h):
		return m, Bad("%s: a sparse member", manifest.Escape(m.Path))
	case IsMark(path.Base(m.Path)):
		return m, Bad("%s: the mark of a restore under way", manifest.Escape(m.Path))
	case m.Kind == manifest.File:
		m.Size = h.Size
	case m.Kind == manifest.Link:
		m.Target = h.Linkname
	}
	return m, nil
}

func nameOr(name string, id int) string {
	if name == "" {
		return strconv.Itoa(id)
	}
	return name
}

// isSparse finds members that can be larger than the stream.
func isSparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// cleanPath is the path of a member as a manifest has it.
func cleanPath(name string) (string, bool) {
	if name == "" || name[0] == '/' || strings.IndexByte(name, 0) >= 0 {
		return "", false
	}
	for element := range strings.SplitSeq(name, "/") {
		if element == ".." {
			return "", false
		}
	}
	return path.Clean(name), true
}

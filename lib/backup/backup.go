// Package backup copies a running cluster out as a base stream, or in parts of one:
// from its data directory ([Copy]), or of what its server sends ([Receive]).
//
// The server itself says where the backup begins and ends. Until it has said so
// nothing is written with which a server could be started.
package backup

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"pgpipes/lib/manifest"
	"pgpipes/lib/server"
	"pgpipes/lib/wal"
)

var (
	// ErrWrongServer says that a data directory is not that of the server
	// asked.
	ErrWrongServer = errors.New("not the data directory of this server")
	// ErrArchiving says that WAL does not arrive where it should.
	ErrArchiving = errors.New("archiving does not work")
	// ErrLinked says that a link leads to what may be of the cluster.
	ErrLinked = errors.New("behind a link")
	// ErrLabel says that a text cannot name a backup.
	ErrLabel = errors.New("not a label")
)

// labelLayout is the form of a backup's name by default, for time.Format.
const labelLayout = "20060102T150405Z"

// newest is what scripts take for the newest backup there is: no backup is named so.
const newest = "last"

// part is the name of the only part of a stream that is not divided.
var part = manifest.PartName(0)

// An Archive is a repository as a copy needs it.
type Archive interface {
	// Begin records that the backup of this header has begun, which protects
	// its WAL and its parent. It fails with store.ErrDiffers if the label is
	// taken, unless the backup goes on with what is left of an interrupted one
	// of this label, and then if that is not there any more.
	Begin(ctx context.Context, h manifest.Header, left *manifest.Header) error
	// Abort takes that back.
	Abort(ctx context.Context, label string) error
	// StoreHistories makes sure that the histories of a timeline and its
	// ancestors are there, taking them from a data directory if need be.
	StoreHistories(ctx context.Context, data string, tli wal.Timeline) error
	// FirstMissing names the first segment from first to last that is not
	// there, "" if all are.
	FirstMissing(ctx context.Context, tli wal.Timeline, first, last uint64) (string, error)
	// Holds reports whether a text is in a segment from first to last.
	Holds(ctx context.Context, tli wal.Timeline, first, last uint64, text string) (bool, error)
}

// CopyOptions say what to copy. Session and Data are needed.
type CopyOptions struct {
	Session *server.Session
	Data    string // the data directory
	Label   string // names the backup; "" for the time in UTC when it begins
	Tags    []string
	Fast    bool // checkpoint at once
	Archive Archive
	// Unchecked copies without looking whether WAL is archived, before and
	// after.
	Unchecked bool
	// WithWAL copies the WAL that the backup needs as well, so that it can be
	// started without an archive.
	WithWAL bool
	// Patience bounds each wait for WAL: it ends when nothing further has
	// arrived for so long.
	Patience time.Duration
	Parts    Parts                            // zero for one stream
	Since    io.Reader                        // the manifest of a backup to go on from; may be nil
	Follow   bool                             // copy what links in the data directory lead to
	MaxRate  int64                            // bytes a second; 0 for any
	Progress func(done, total int64)          // bytes; may be nil
	Warn     func(format string, args ...any) // for what is left out
	Notice   func(format string, args ...any) // for what is being waited for; may be nil
}

// Parts say how a copy is divided.
type Parts struct {
	// Command is run by sh for every part, which is its standard input, with
	// LABEL and PART in the environment. It prints the part's receipt, or
	// nothing.
	Command string
	Size    int64    // bytes of files in a part; a larger file is a part of its own
	Jobs    int      // how many parts are written at once
	Stderr  *os.File // of the commands
}

// Copied is a finished copy. Close it.
type Copied struct {
	Header  manifest.Header
	Bad     int // pages with wrong checksums; the first of them are in the header
	listing *listing
}

// WriteManifest writes the manifest of the copy.
func (c *Copied) WriteManifest(w io.Writer) error { return c.listing.entries.Finish(w, c.Header) }

// Close gives up what the copy holds.
func (c *Copied) Close() error { return c.listing.close() }

// Copy writes a base backup of a running server's data directory to out, as one
// tar, or through commands in parts, and then nothing to out. When it fails, there is
// no complete stream: that ends with backup_manifest and the trailer of the tar,
// which are written when the server has ended the backup in order and the WAL
// that belongs to it is archived.
func Copy(ctx context.Context, out io.Writer, o CopyOptions) (*Copied, error) {
	c := &copier{o: o, info: o.Session.Info()}
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	defer c.close()
	if err := c.begin(ctx); err != nil {
		return nil, err
	}
	err := c.copy(ctx, out)
	if err != nil {
		return nil, errors.Join(err, c.abort(ctx))
	}
	listing := c.listing
	c.listing = nil
	return &Copied{c.header, c.tree.bad.all.all, listing}, nil
}

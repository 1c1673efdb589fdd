package manifest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"pgpipes/lib/wal"
)

// ReadServerManifest reads a backup_manifest of version 1 or 2 as PostgreSQL
// and pg_basebackup write it, and calls each for every file as it comes. An
// error of each ends the reading and is returned as it is.
//
// It is as strict as the server's own reader (common/parse_manifest.c), which
// knows no extensions: the version first, the checksum last and alone on the
// last line, every key once. Whether a path comes twice it does not know. What
// it has given to each is to be believed only if it returns without an error,
// because Manifest-Checksum is compared at the end. Errors that are due to the
// contents are in the chain of [ErrDamaged] or [ErrVersion].
func ReadServerManifest(r io.Reader, each func(ServerFile) error) (ServerManifest, error) {
	p := &serverParser{in: newServerInput(r), each: each, values: map[string]string{}}
	if err := p.parse(); err != nil {
		return ServerManifest{}, err
	}
	return p.manifest, nil
}

type serverParser struct {
	in       *serverInput
	each     func(ServerFile) error
	manifest ServerManifest
	values   map[string]string // of the current file
	checksum string            // Manifest-Checksum; the first value after it is an error
}

func (p *serverParser) parse() error {
	seen, err := p.object(p.field)
	if err != nil {
		return err
	}
	if _, err := p.in.decoder.Token(); err != io.EOF {
		return p.fail(err, "something follows the end")
	}
	for _, key := range []string{serverFilesKey, serverChecksumKey} {
		if !slices.Contains(seen, key) {
			return damagedServer("%s: missing", key)
		}
	}
	if slices.Contains(seen, serverSystemKey) != (p.manifest.Version == 2) {
		return damagedServer("%s does not agree with version %d", serverSystemKey, p.manifest.Version)
	}
	sum, err := hex.DecodeString(p.checksum)
	if err != nil || len(sum) == 0 || !bytes.Equal(sum, p.in.sum()) {
		return damagedServer("%s does not match", serverChecksumKey)
	}
	return nil
}

// field reads the value of a key of the outermost object.
func (p *serverParser) field(key string) (err error) {
	switch {
	case (p.manifest.Version == 0) != (key == serverVersionKey):
		return damagedServer("%s is not first", serverVersionKey)
	case p.checksum != "":
		return damagedServer("%s is not last", serverChecksumKey)
	}
	switch key {
	case serverVersionKey:
		return p.version()
	case serverSystemKey:
		p.manifest.SystemID, err = serverNumber[uint64](p, key)
		return err
	case serverFilesKey:
		return p.array(p.file)
	case serverRangesKey:
		return p.array(p.walRange)
	case serverChecksumKey:
		p.checksum, err = p.value(key)
		return err
	}
	return damagedServer("unknown key %q", key)
}

func (p *serverParser) version() error {
	n, err := serverNumber[int](p, serverVersionKey)
	if err != nil {
		return err
	}
	if n != 1 && n != 2 {
		return fmt.Errorf("%w: backup_manifest of version %d", ErrVersion, n)
	}
	p.manifest.Version = n
	return nil
}

// file reads an element of Files.
func (p *serverParser) file() error {
	clear(p.values)
	if _, err := p.object(p.fileField); err != nil {
		return err
	}
	f, err := newServerFile(p.values)
	if err != nil {
		return damagedServer("%v", err)
	}
	return p.each(f)
}

func (p *serverParser) fileField(key string) (err error) {
	switch key {
	case "Path", "Encoded-Path", "Size", "Last-Modified", "Checksum-Algorithm", "Checksum":
		p.values[key], err = p.value(key)
		return err
	}
	return damagedServer("unknown key %q of a file", key)
}

// walRange reads an element of WAL-Ranges.
func (p *serverParser) walRange() error {
	var r WALRange
	seen, err := p.object(func(key string) (err error) {
		switch key {
		case "Timeline":
			r.Timeline, err = serverNumber[wal.Timeline](p, key)
		case "Start-LSN":
			r.Start, err = p.lsn(key)
		case "End-LSN":
			r.End, err = p.lsn(key)
		default:
			err = damagedServer("unknown key %q of a WAL range", key)
		}
		return err
	})
	if err == nil && (len(seen) != 3 || r.Timeline == 0 || r.Start > r.End) {
		err = damagedServer("a WAL range is incomplete or ends before it starts")
	}
	p.manifest.WALRanges = append(p.manifest.WALRanges, r)
	return err
}

func (p *serverParser) lsn(key string) (wal.LSN, error) {
	s, err := p.value(key)
	if err != nil {
		return 0, err
	}
	l, err := wal.ParseLSN(s)
	if err != nil {
		return 0, damagedServer("%s: %v", key, err)
	}
	return l, nil
}

// serverNumber reads an integer, which may be written as a string.
func serverNumber[T integer](p *serverParser, key string) (T, error) {
	s, err := p.value(key)
	if err != nil {
		return 0, err
	}
	n, err := parseNumber[T](s)
	if err != nil {
		return 0, damagedServer("%s: %v", key, err)
	}
	return n, nil
}

// value reads a string or a number.
func (p *serverParser) value(key string) (string, error) {
	switch t, err := p.in.decoder.Token(); v := t.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	default:
		return "", p.fail(err, key+": neither a string nor a number")
	}
}

// object reads an object and calls field for the value of each key. It
// returns the keys, none of which may come twice.
func (p *serverParser) object(field func(key string) error) (seen []string, err error) {
	if err := p.delimiter('{'); err != nil {
		return nil, err
	}
	for p.in.decoder.More() {
		t, err := p.in.decoder.Token()
		key, ok := t.(string)
		if !ok || slices.Contains(seen, key) {
			return nil, p.fail(err, fmt.Sprintf("key %q: twice", key))
		}
		seen = append(seen, key)
		if err := field(key); err != nil {
			return nil, err
		}
	}
	return seen, p.delimiter('}')
}

func (p *serverParser) array(element func() error) error {
	if err := p.delimiter('['); err != nil {
		return err
	}
	for p.in.decoder.More() {
		if err := element(); err != nil {
			return err
		}
	}
	return p.delimiter(']')
}

func (p *serverParser) delimiter(d json.Delim) error {
	if t, err := p.in.decoder.Token(); t != d {
		return p.fail(err, "expected "+d.String())
	}
	return nil
}

// fail makes an error of what the decoder returned, or else of what is wrong
// with what it gave. Only errors of the underlying reader are not damage.
func (p *serverParser) fail(err error, wrong string) error {
	switch {
	case p.in.err != nil:
		return p.in.err
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return damagedServer("cut off")
	case err != nil:
		return damagedServer("%v", err)
	}
	return damagedServer("%s", wrong)
}

func damagedServer(format string, values ...any) error {
	return fmt.Errorf("%w: backup_manifest: %s", ErrDamaged, fmt.Sprintf(format, values...))
}

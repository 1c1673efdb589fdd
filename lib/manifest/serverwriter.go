package manifest

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// ServerManifestWriter writes backup_manifest: version 1, which pg_verifybackup
// of every release since 13 accepts, or version 2, which 17 and later alone
// read, and want from whoever asks them for an increment. It writes the same
// lines as the server (backup_manifest.c:AddFileToBackupManifest) and keeps
// nothing in memory. The files may come in any order, but none of them twice.
type ServerManifestWriter struct {
	out    *bufio.Writer // to to and hash
	to     io.Writer
	hash   hash.Hash
	listed bool // a file has been written
	line   []byte
}

// NewServerManifestWriter begins a backup_manifest of version 1 on w. Errors of
// w are reported by Add or, at the latest, by Finish.
func NewServerManifestWriter(w io.Writer) *ServerManifestWriter {
	m := newServerManifestWriter(w)
	fmt.Fprintf(m.out, "{ %q: 1,\n%q: [", serverVersionKey, serverFilesKey)
	return m
}

// NewServerManifestWriter2 begins one of version 2, which holds the identifier
// of the cluster.
func NewServerManifestWriter2(w io.Writer, systemID uint64) *ServerManifestWriter {
	m := newServerManifestWriter(w)
	fmt.Fprintf(m.out, "{ %q: 2,\n%q: %d,\n%q: [", serverVersionKey, serverSystemKey, systemID, serverFilesKey)
	return m
}

func newServerManifestWriter(w io.Writer) *ServerManifestWriter {
	sum := sha256.New()
	return &ServerManifestWriter{to: w, hash: sum, out: bufio.NewWriterSize(io.MultiWriter(w, sum), 64<<10)}
}

// Add lists a file by its path relative to the data directory, its size, the
// time of its last modification and its SHA-256 in lower-case hex, all as they
// will be on disk after a restore.
func (m *ServerManifestWriter) Add(path string, size int64, mtime time.Time, sum string) error {
	e := Entry{Kind: File, Path: path, Size: size, SHA256: sum}
	if err := e.check(); err != nil {
		return err
	}
	if sum == "" {
		return fmt.Errorf("%s: file without a hash", Escape(path))
	}
	b := m.line[:0]
	if m.listed {
		b = append(b, ',')
	}
	b = append(b, "\n{ "...)
	b = appendServerPath(b, path)
	b = fmt.Appendf(b, `, "Size": %d, "Last-Modified": "`, size)
	b = mtime.UTC().AppendFormat(b, serverTime)
	b = fmt.Appendf(b, `", "Checksum-Algorithm": "SHA256", "Checksum": "%s" }`, sum)
	m.listed, m.line = true, b
	_, err := m.out.Write(b)
	return err
}

// Finish lists the WAL that the backup needs and ends the manifest. Without
// ranges pg_verifybackup does not look at WAL.
func (m *ServerManifestWriter) Finish(ranges []WALRange) error {
	io.WriteString(m.out, "\n],\n") // Flush tells of its errors
	if len(ranges) > 0 {
		fmt.Fprintf(m.out, "%q: [\n%s\n],\n", serverRangesKey, formatRanges(ranges))
	}
	if err := m.out.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(m.to, "%q: \"%x\"}\n", serverChecksumKey, m.hash.Sum(nil))
	return err
}

func formatRanges(ranges []WALRange) string {
	lines := make([]string, len(ranges))
	for i, r := range ranges {
		lines[i] = fmt.Sprintf(`{ "Timeline": %d, "Start-LSN": "%s", "End-LSN": "%s" }`,
			uint32(r.Timeline), r.Start, r.End)
	}
	return strings.Join(lines, ",\n")
}

// appendServerPath writes the key and the value of a path: JSON has no way to
// hold bytes that are not UTF-8, so such a path is written in hex.
func appendServerPath(b []byte, path string) []byte {
	if !utf8.ValidString(path) {
		b = append(b, `"Encoded-Path": "`...)
		return append(hex.AppendEncode(b, []byte(path)), '"')
	}
	return append(appendJSON(append(b, `"Path": "`...), path), '"')
}

// appendJSON escapes what the server does (json.c:escape_json): quotes,
// backslashes and controls, and nothing else.
func appendJSON(b []byte, s string) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ':
			b = append(b, c)
		case c >= '\b' && c <= '\r' && c != '\v':
			b = append(b, '\\', "btn-fr"[c-'\b'])
		default:
			b = fmt.Appendf(b, `\u%04x`, c)
		}
	}
	return b
}

package pgdata

import (
	"errors"
	"fmt"
	"strings"
)

// ErrTablespaceMap is wrapped by the error of a tablespace_map that is damaged.
var ErrTablespaceMap = errors.New("pgdata: bad tablespace_map")

// TablespaceMapFile is the path of the tablespace map in a data directory. At the
// first start from a backup the server replaces every pg_tblspc/<oid> that is
// named in it by a link to the path there.
const TablespaceMapFile = "tablespace_map"

// Tablespace is one that lies outside the data directory.
type Tablespace struct {
	OID  uint32
	Path string // bytes as the file system has them, in any encoding
}

// ParseTablespaceMap reads a tablespace_map as the server does (xlogrecovery.c:
// read_tablespace_map): a line for each tablespace, its OID, one blank, its path.
// A backslash takes the meaning from the byte after it; a carriage return
// ends a line as a line feed does, and empty lines do not count. The last line
// must have an end. Errors wrap ErrTablespaceMap.
//
// Early minor releases wrote a backslash in a path without escaping it; such a
// path loses its backslash here as it does in every later server.
func ParseTablespaceMap(b []byte) ([]Tablespace, error) {
	var spaces []Tablespace
	var line strings.Builder
	escaped := false
	for _, c := range b {
		switch {
		case escaped:
			line.WriteByte(c)
			escaped = false
		case c == '\\':
			escaped = true
		case c != '\n' && c != '\r':
			line.WriteByte(c)
		case line.Len() > 0:
			space, err := parseTablespace(line.String())
			if err != nil {
				return nil, err
			}
			spaces = append(spaces, space)
			line.Reset()
		}
	}
	if line.Len() > 0 || escaped {
		return nil, fmt.Errorf("%w: cut off: the last line has no end", ErrTablespaceMap)
	}
	return spaces, nil
}

func parseTablespace(line string) (Tablespace, error) {
	oid, path, _ := strings.Cut(line, " ")
	n, ok := positive(oid)
	if !ok {
		return Tablespace{}, fmt.Errorf("%w: %.40q is not an OID", ErrTablespaceMap, oid)
	}
	if path == "" || strings.ContainsRune(path, 0) {
		return Tablespace{}, fmt.Errorf("%w: tablespace %d has no usable path: %.80q", ErrTablespaceMap, n, path)
	}
	return Tablespace{OID: n, Path: path}, nil
}

var mapEscaper = strings.NewReplacer("\\", "\\\\", "\n", "\\\n", "\r", "\\\r")

// FormatTablespaceMap writes a tablespace_map that a server reads back
// (xlog.c:do_pg_backup_start). Without tablespaces it is empty, and then there
// should be no such file.
func FormatTablespaceMap(spaces []Tablespace) []byte {
	var b []byte
	for _, s := range spaces {
		b = fmt.Appendf(b, "%d %s\n", s.OID, mapEscaper.Replace(s.Path))
	}
	return b
}

package server

import (
	"fmt"
	"strings"
)

// The bounds of MAX_RATE in kB a second (basebackup.h: MAX_RATE_LOWER,
// MAX_RATE_UPPER).
const (
	minRate = 32
	maxRate = 1 << 20
)

// BaseBackupOptions say what the server is to send. The zero value is a spread
// checkpoint, no WAL, no compression, and page checksums verified.
type BaseBackupOptions struct {
	Label     string // what backup_label says
	Fast      bool   // checkpoint at once
	WAL       bool   // the data directory comes with the WAL that it needs
	Progress  bool   // have the server add up the sizes beforehand, which takes a walk through all directories
	NoVerify  bool   // do not verify page checksums
	MaxRate   int64  // bytes a second, 0 for any; the server knows 32 kB to 1 GB and the nearest is taken
	Algorithm string // of the checksums in the server's manifest; "" is CRC32C
	// Compression is done by the server, since 15: gzip, lz4 or zstd, as it was
	// built with; "" is none.
	Compression string
	Level       int // of the compression; 0 is its default
}

// command is the text of BASE_BACKUP for a server (repl_gram.y). 15 has another
// grammar, and has dropped the old one.
func (o BaseBackupOptions) command(major int) (string, error) {
	if o.Compression != "" && major < 15 {
		return "", fmt.Errorf("BASE_BACKUP: servers compress since 15, this one is %d", major)
	}
	if strings.ContainsRune(o.Label, 0) {
		return "", fmt.Errorf("BASE_BACKUP: the label has a zero byte")
	}
	if major < 15 {
		return "BASE_BACKUP " + strings.Join(o.flat(), " "), nil
	}
	return "BASE_BACKUP (" + strings.Join(o.list(), ", ") + ")", nil
}

// flat are the options for 13 and 14.
func (o BaseBackupOptions) flat() []string {
	s := []string{"LABEL " + quote(o.Label)}
	s = addIf(s, o.Progress, "PROGRESS")
	s = addIf(s, o.Fast, "FAST")
	s = addIf(s, o.WAL, "WAL")
	s = append(s, "NOWAIT")
	s = addIf(s, o.MaxRate > 0, fmt.Sprintf("MAX_RATE %d", o.rate()))
	s = append(s, "TABLESPACE_MAP")
	s = addIf(s, o.NoVerify, "NOVERIFY_CHECKSUMS")
	return append(s, "MANIFEST 'yes'", "MANIFEST_CHECKSUMS "+quote(o.algorithm()))
}

// list are the options since 15.
func (o BaseBackupOptions) list() []string {
	s := []string{"LABEL " + quote(o.Label)}
	s = addIf(s, o.Progress, "PROGRESS")
	s = addIf(s, o.Fast, "CHECKPOINT 'fast'")
	s = addIf(s, o.WAL, "WAL")
	s = append(s, "WAIT false")
	s = addIf(s, o.MaxRate > 0, fmt.Sprintf("MAX_RATE %d", o.rate()))
	s = append(s, "TABLESPACE_MAP")
	s = addIf(s, o.NoVerify, "VERIFY_CHECKSUMS false")
	s = addIf(s, o.Compression != "", "COMPRESSION "+quote(o.Compression))
	s = addIf(s, o.Compression != "" && o.Level != 0, fmt.Sprintf("COMPRESSION_DETAIL 'level=%d'", o.Level))
	return append(s, "MANIFEST 'yes'", "MANIFEST_CHECKSUMS "+quote(o.algorithm()))
}

// rate is MaxRate as the server wants it.
func (o BaseBackupOptions) rate() int64 { return min(max(o.MaxRate>>10, minRate), maxRate) }

func (o BaseBackupOptions) algorithm() string {
	if o.Algorithm == "" {
		return "CRC32C"
	}
	return o.Algorithm
}

func addIf(list []string, wanted bool, option string) []string {
	if wanted {
		return append(list, option)
	}
	return list
}

// quote makes a string of the replication protocol, in which only quotes are
// special (repl_scanner.l).
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

package server

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"pgpipes/lib/wal"
)

// Truth is an answer that a role without the right to know leaves open.
type Truth int8

// The zero Truth is Unknown.
const (
	Unknown Truth = iota
	No
	Yes
)

func (t Truth) String() string { return [...]string{"unknown", "no", "yes"}[t] }

// Info is what the server was when the session began.
type Info struct {
	VersionNum      int    // server_version_num, such as 150018
	Major           int    // 13 to 18
	SystemID        uint64 // pg_control_system(), unsigned as it is meant
	Catalog         uint32 // catalog version number
	SegmentSize     wal.SegmentSize
	Checksums       bool
	InRecovery      bool
	DataDirectory   string // "" when the role may not see it
	PostmasterStart time.Time
	WALLevel        string // minimal, replica, logical
	FullPageWrites  bool
	ArchiveMode     string // off, on, always
	ArchiveCommand  Truth  // archive_command or archive_library is set; No while ArchiveMode is off
}

// learnQuery reads settings from pg_settings where a plain role may lack the
// right to see them: there the row is missing, elsewhere it is an error.
const learnQuery = `
SELECT pg_catalog.pg_backend_pid(),
       s.system_identifier, s.catalog_version_no,
       i.bytes_per_wal_segment, i.data_page_checksum_version,
       pg_catalog.pg_is_in_recovery(),
       (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'data_directory'),
       pg_catalog.floor(extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::pg_catalog.int8,
       pg_catalog.current_setting('wal_level'),
       pg_catalog.current_setting('full_page_writes'),
       pg_catalog.current_setting('archive_mode'),
       (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'archive_command'),
       (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'archive_library')
  FROM pg_catalog.pg_control_system() s, pg_catalog.pg_control_init() i`

// learn fills the session's Info.
func (s *Session) learn(ctx context.Context, versionNum int) error {
	row, err := s.ask(ctx, "server settings", learnQuery)
	if err != nil {
		return err
	}
	n := make([]int64, len(row))
	for _, i := range []int{1, 2, 3, 4, 7} {
		if n[i], err = strconv.ParseInt(string(row[i]), 10, 64); err != nil {
			return fmt.Errorf("server settings: %q is not a number", row[i])
		}
	}
	s.process = string(row[0])
	s.info = Info{
		VersionNum:      versionNum,
		Major:           s.target.major,
		SystemID:        uint64(n[1]),
		Catalog:         uint32(n[2]),
		SegmentSize:     wal.SegmentSize(n[3]),
		Checksums:       n[4] > 0,
		InRecovery:      string(row[5]) == "t",
		DataDirectory:   string(row[6]),
		PostmasterStart: time.UnixMicro(n[7]).UTC(),
		WALLevel:        string(row[8]),
		FullPageWrites:  string(row[9]) == "on",
		ArchiveMode:     string(row[10]),
		ArchiveCommand:  archiveCommand(string(row[10]), row[11], row[12]),
	}
	s.target.walLevel = s.info.WALLevel
	return nil
}

// archiveCommand judges the two settings by which a server archives; nil is
// one that is hidden or does not exist.
func archiveCommand(mode string, command, library []byte) Truth {
	switch {
	case mode == "off": // archive_command then reads "(disabled)", whatever it is
		return No
	case len(command) > 0 || len(library) > 0:
		return Yes
	case command == nil:
		return Unknown
	default:
		return No
	}
}

// Info is what was learnt when the session began.
func (s *Session) Info() Info { return s.info }

package script

import (
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
)

// settings parts KEY=VALUE arguments from the others.
func settings(args []string) (values map[string]string, rest []string) {
	values = map[string]string{}
	for _, arg := range args {
		if key, value, found := strings.Cut(arg, "="); found {
			values[key] = value
		} else {
			rest = append(rest, arg)
		}
	}
	return values, rest
}

// number reads a value in decimal, or hexadecimal after 0x; 0 when it is not set.
func number(ts *testscript.TestScript, values map[string]string, key string) int64 {
	if values[key] == "" {
		return 0
	}
	n, err := strconv.ParseInt(values[key], 0, 64)
	ts.Check(err)
	return n
}

func segment(ts *testscript.TestScript, _ bool, args []string) {
	values, files := settings(args)
	need(ts, files, 1, "segment [KEY=VALUE]… FILE…")
	for _, file := range files {
		s := fixture.Segment{
			Name:     values["name"],
			Size:     wal.SegmentSize(number(ts, values, "size")),
			SystemID: uint64(number(ts, values, "system")),
			Timeline: wal.Timeline(number(ts, values, "tli")),
			Address:  wal.LSN(number(ts, values, "address")),
			Magic:    uint16(number(ts, values, "magic")),
			Length:   number(ts, values, "length"),
			Seed:     uint64(number(ts, values, "seed")),
			Sparse:   values["sparse"] != "",
		}
		if s.Name == "" {
			s.Name = filepath.Base(file)
		}
		if at := values["commit"]; at != "" {
			var err error
			s.Commit, err = time.Parse(time.RFC3339, at)
			ts.Check(err)
		}
		ts.Check(s.Write(ts.MkAbs(file)))
	}
}

func dataDirectory(ts *testscript.TestScript, _ bool, args []string) {
	values, dirs := settings(args)
	need(ts, dirs, 1, "pgdata [KEY=VALUE]… DIR")
	system, size := uint64(number(ts, values, "system")), wal.SegmentSize(number(ts, values, "size"))
	if system == 0 {
		system = fixture.SystemID
	}
	if size == 0 {
		size = wal.MinSegmentSize
	}
	ts.Check(fixture.DataDirectory(ts.MkAbs(dirs[0]), system, size))
}

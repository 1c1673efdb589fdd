package main_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"pgpipes/lib/manifest"
	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
	"pgpipes/test/script"
)

func TestMain(m *testing.M) { script.Main(m, "base-restore", "compress", "manifest") }

func TestScripts(t *testing.T) {
	params := script.Params("testdata")
	params.Cmds["basetar"] = baseTar
	testscript.Run(t, params)
}

const label = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nCHECKPOINT LOCATION: 0/2000060\n" +
	"BACKUP METHOD: streamed\nBACKUP FROM: primary\nSTART TIME: 2026-11-22 10:15:00 UTC\nLABEL: nightly\nSTART TIMELINE: 1\n"

// baseTar makes a base stream: basetar [system=N] FILE [OID=PATH]…
func baseTar(ts *testscript.TestScript, _ bool, args []string) {
	system := uint64(fixture.SystemID)
	if number, found := strings.CutPrefix(args[0], "system="); found {
		n, err := strconv.ParseUint(number, 10, 64)
		ts.Check(err)
		system, args = n, args[1:]
	}
	data := filepath.Join(ts.MkAbs("."), "cluster-of-"+args[0])
	ts.Check(fixture.DataDirectory(data, system, wal.MinSegmentSize))
	control, err := os.ReadFile(filepath.Join(data, "global/pg_control"))
	ts.Check(err)

	var out, list bytes.Buffer
	w, server := tar.NewWriter(&out), manifest.NewServerManifestWriter(&list)
	at := time.Date(2026, 11, 22, 10, 15, 0, 0, time.UTC)
	add := func(name, text string) {
		h := &tar.Header{Name: name, Mode: 0o600, Size: int64(len(text)), ModTime: at, Uname: "root", Gname: "root", Typeflag: tar.TypeReg}
		if strings.HasSuffix(name, "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o700
		}
		ts.Check(w.WriteHeader(h))
		_, err := w.Write([]byte(text))
		ts.Check(err)
		if sum := sha256.Sum256([]byte(text)); h.Typeflag == tar.TypeReg && name != "backup_manifest" {
			ts.Check(server.Add(name, h.Size, at, hex.EncodeToString(sum[:])))
		}
	}
	spaceMap := ""
	for _, name := range []string{"./", "pg_tblspc/", "base/", "global/", "pg_wal/"} {
		add(name, "")
	}
	for _, space := range args[1:] {
		oid, path, _ := strings.Cut(space, "=")
		spaceMap += oid + " " + path + "\n"
		add("pg_tblspc/"+oid+"/", "")
	}
	for _, space := range args[1:] {
		oid, _, _ := strings.Cut(space, "=")
		add("pg_tblspc/"+oid+"/table", "in tablespace "+oid+"\n")
	}
	add("PG_VERSION", "15\n")
	add("base/table", "rows\n")
	add("backup_label", label)
	if spaceMap != "" {
		add("tablespace_map", spaceMap)
	}
	add("global/pg_control", string(control))
	ts.Check(server.Finish(nil))
	add("backup_manifest", list.String())
	ts.Check(w.Close())
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), out.Bytes(), 0o600))
}

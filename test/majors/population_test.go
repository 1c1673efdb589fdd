package majors

import (
	"flag"
	"fmt"
	"path/filepath"
	"strings"
)

var (
	relations = flag.Int("relations", 200, "how many tables a cluster has")
	large     = flag.Int("large", 0, "MB of the largest table")
)

// spaces are the tablespaces by name, and where they lie.
var spaces = map[string]string{
	"one": "one", "two": `the "second" one`, "three": "third\\ $x", "four": "späce 4",
}

// populate makes tablespaces with something in each of them, the tables that
// pgbench works on, many small ones, and a large one.
func (s *site) populate() {
	s.t.Helper()
	s.must("pgbench", "-i", "-q", "-s", "2")
	for name, dir := range spaces {
		at := filepath.Join(s.dir, dir)
		s.must("mkdir", at)
		s.SQL("CREATE TABLESPACE " + name + " LOCATION '" + at + "'")
		s.SQL("CREATE TABLE in_" + name + " TABLESPACE " + name + " AS SELECT generate_series(1, 20000) n")
	}
	s.SQL("CREATE UNLOGGED TABLE unlogged AS SELECT generate_series(1, 1000) n")
	s.SQL("CREATE EXTENSION amcheck")
	for from := 1; from <= *relations; from += 500 { // a transaction can lock only so many
		s.SQL(fmt.Sprintf(`DO $$ BEGIN FOR i IN %d..%d LOOP
			EXECUTE format('CREATE TABLE small_%%s TABLESPACE %%s AS SELECT %%s AS n', i, (ARRAY['one', 'two', 'three', 'four'])[i %% 4 + 1], i);
		END LOOP; END $$`, from, min(from+499, *relations)))
	}
	s.SQL("CREATE TABLE large (n int, pad text)")
	s.SQL("ALTER TABLE large ALTER pad SET STORAGE PLAIN")
	s.SQL(fmt.Sprintf("INSERT INTO large SELECT n, repeat(md5(n::text), 240) FROM generate_series(1, %d) n", *large*1e6/7800))
	s.SQL("CREATE TABLE extended AS SELECT n, repeat('x', 900) AS pad FROM generate_series(1, 1000) n")
	s.SQL("CREATE TABLE truncated AS TABLE extended")
	s.SQL("CHECKPOINT")
}

// digest is what clusters are compared by.
const digest = `SELECT (SELECT count(*) || '/' || sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers),
	(SELECT sum(bbalance) FROM pgbench_branches), (SELECT count(*) || '/' || sum(delta) FROM pgbench_history),
	(SELECT count(*) || '/' || sum(n) FROM in_one), (SELECT count(*) || '/' || sum(n) FROM in_two),
	(SELECT count(*) || '/' || sum(n) FROM in_three), (SELECT count(*) || '/' || sum(n) FROM in_four),
	(SELECT count(*) || '/' || sum(hashtext(l::text)) FROM large l), (SELECT count(*) || '/' || sum(hashtext(e::text)) FROM extended e),
	(SELECT count(*) FROM truncated), (SELECT count(*) FROM pg_class WHERE relpersistence = 'p')`

// busyness is what goes on during a backup, besides what pgbench does by itself.
var busyness = strings.Join([]string{
	"\\set n random(1, 1000000)",
	"CREATE TABLE IF NOT EXISTS passing_:n AS SELECT generate_series(1, 500) n;",
	"CREATE TEMPORARY TABLE IF NOT EXISTS temporary AS SELECT generate_series(1, 500) n;",
	"INSERT INTO in_one SELECT generate_series(1, 50);",
	"INSERT INTO extended SELECT n, repeat('y', 900) FROM generate_series(1, 50) n;",
	"INSERT INTO large SELECT n, repeat(md5(n::text), 240) FROM generate_series(1, 5) n;",
	"INSERT INTO unlogged SELECT generate_series(1, 50);",
	"TRUNCATE truncated;",
	"INSERT INTO truncated SELECT n FROM generate_series(1, 100) n;",
	"DROP TABLE IF EXISTS passing_:n;",
}, "\n")

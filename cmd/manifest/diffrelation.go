package main

import (
	"bufio"
	"strings"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
)

// relationDiffer prints a line for all files of a relation. Between the main
// fork of relation 1259 and its others stand the files of 12590 to 12599 and so
// on, so several are open at a time, each one's path the beginning of the
// next one's; and a line that is done may have to wait for one that comes before.
type relationDiffer struct {
	out   table
	open  []*group
	lines *manifest.Lines
}

var relationColumns = []column{
	{"state", false}, {"before", true}, {"after", true}, {"changed", true}, {"database", true}, {"filenode", true},
	{"files", true}, {"path", false},
}

func newRelationDiffer(out *bufio.Writer) *relationDiffer {
	return &relationDiffer{out: table{out, relationColumns, diffOptions.JSON}, lines: manifest.NewLines("")}
}

// group is what is known of the files of a relation, or of one other path.
type group struct {
	path               string
	database, filenode string
	states             map[manifest.State]int
	had, has           int // files
	files              int
	before, after      int64
	changed            int64
}

func (d *relationDiffer) add(c *manifest.Change) error {
	path := c.Path()
	if err := d.closeUnless(func(g *group) bool { return strings.HasPrefix(path, g.path) }); err != nil {
		return err
	}
	database, r, ok := pgdata.ParseRelationPath(path)
	if !ok {
		g := group{path: path, database: none, filenode: none}
		g.add(c)
		return d.write(&g)
	}
	first := path[:strings.LastIndexByte(path, '/')+1] + decimal(r.Number)
	if n := len(d.open); n == 0 || d.open[n-1].path != first {
		d.open = append(d.open, &group{path: first, database: decimal(database), filenode: decimal(r.Number)})
	}
	d.open[len(d.open)-1].add(c)
	return nil
}

// closeUnless writes the groups of which no more can come.
func (d *relationDiffer) closeUnless(keep func(*group) bool) error {
	for n := len(d.open); n > 0 && !keep(d.open[n-1]); n-- {
		if err := d.write(d.open[n-1]); err != nil {
			return err
		}
		d.open = d.open[:n-1]
	}
	return nil
}

func (g *group) add(c *manifest.Change) {
	if g.states == nil {
		g.states = map[manifest.State]int{}
	}
	g.states[c.State]++
	g.files++
	if c.Before.Kind == manifest.File {
		g.had++
	}
	if c.After.Kind == manifest.File {
		g.has++
	}
	g.before += c.Before.Size
	g.after += c.After.Size
	if c.State == manifest.Added || c.State == manifest.Changed {
		g.changed += c.After.Size
	}
}

// state is what became of all files together.
func (g *group) state() manifest.State {
	for _, s := range []manifest.State{manifest.Unchanged, manifest.Added, manifest.Removed} {
		if g.states[s] == g.files {
			return s
		}
	}
	if g.states[manifest.Touched]+g.states[manifest.Unchanged] == g.files {
		return manifest.Touched
	}
	return manifest.Changed
}

func (d *relationDiffer) write(g *group) error {
	state := g.state()
	if state == manifest.Unchanged {
		return nil
	}
	return d.lines.Add([]byte(strings.Join([]string{
		string(state), ofFiles(g.had, g.before), ofFiles(g.has, g.after), decimal(g.changed), g.database, g.filenode,
		decimal(g.files), manifest.Escape(g.path),
	}, "\t") + "\n"))
}

// ofFiles is a column for the bytes of so many files.
func ofFiles(files int, bytes int64) string {
	if files == 0 {
		return none
	}
	return decimal(bytes)
}

func (d *relationDiffer) finish() error {
	if err := d.closeUnless(func(*group) bool { return false }); err != nil {
		return err
	}
	for line, err := range d.lines.All() {
		if err == nil {
			err = d.out.print(strings.Split(strings.TrimSuffix(string(line), "\n"), "\t")...)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *relationDiffer) close() error { return d.lines.Close() }

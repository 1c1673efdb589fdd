package main

import "pgpipes/lib/manifest"

// totalDiffer prints a line a state.
type totalDiffer struct {
	out    table
	totals map[manifest.State]*total
}

var totalColumns = []column{{"state", false}, {"files", true}, {"others", true}, {"before", true}, {"after", true}}

// total counts paths, and bytes on both sides.
type total struct{ files, others, before, after int64 }

func (d *totalDiffer) add(c *manifest.Change) error {
	if d.totals == nil {
		d.totals = map[manifest.State]*total{}
	}
	t := d.totals[c.State]
	if t == nil {
		t = &total{}
		d.totals[c.State] = t
	}
	if c.Before.Kind == manifest.File || c.After.Kind == manifest.File {
		t.files++
	} else {
		t.others++
	}
	t.before += c.Before.Size
	t.after += c.After.Size
	return nil
}

func (d *totalDiffer) finish() error {
	for _, state := range []manifest.State{manifest.Added, manifest.Removed, manifest.Changed, manifest.Touched, manifest.Unchanged} {
		t := total{}
		if d.totals[state] != nil {
			t = *d.totals[state]
		}
		if err := d.out.print(string(state), decimal(t.files), decimal(t.others), decimal(t.before), decimal(t.after)); err != nil {
			return err
		}
	}
	return nil
}

func (d *totalDiffer) close() error { return nil }
